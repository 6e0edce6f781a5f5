"""Whether two runs have seen the same data, told by one number."""

import hashlib
import json
from typing import Any

from yolact.data.coco import CocoInstances


def fingerprint(instances: CocoInstances) -> str:
    """SHA-256, hexadecimal, of a split: its document in COCO's form, and its pictures' names and sizes.

    Pictures count by file name and bytes on disk: a picture that changed and kept both is not
    noticed, since reading all pixels of a large data set would take minutes. Where the data lies
    and how its JSON is laid out does not matter; the order of the entries does.

    Raises:
        OSError: If a picture is gone.
    """
    digest = hashlib.sha256()
    for part in ("categories", "images", "annotations"):
        digest.update(f"{part}:".encode())
        for entry in instances.ground_truth[part]:  # one by one: COCO's are half a gigabyte of text
            digest.update(_canonical(entry))
    for record in instances.records:
        digest.update(_canonical([record.path.name, record.path.stat().st_size]))
    return digest.hexdigest()


def _canonical(entry: Any) -> bytes:
    """The same bytes for equal entries, without what only says where we read them."""
    if isinstance(entry, dict):
        entry = {key: value for key, value in entry.items() if key != "origin"}
    return json.dumps(entry, sort_keys=True, separators=(",", ":")).encode() + b"\n"
