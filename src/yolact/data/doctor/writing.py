"""Writing a data set in COCO's form: labels and copies of pictures, all of it or nothing."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from yolact.files import new_folder


@dataclass(frozen=True)
class CocoSplit:
    """One split to be written."""

    document: dict[str, Any]
    """COCO instances; every image's ``file_name`` is where its picture will be."""
    sources: tuple[Path, ...]
    """The picture file of each image, in their order."""


def write_coco(out: Path, splits: Mapping[str, CocoSplit]) -> None:
    """Write ``annotations/instances_<split>.json`` and ``images/<split>/…`` for each split.

    Raises:
        UsageError: If ``out`` is a file, or a folder that is not empty.
    """
    with new_folder(out) as unfinished:
        for split, content in splits.items():
            images = unfinished / "images" / split
            images.mkdir(parents=True)
            for image, source in zip(content.document["images"], content.sources, strict=True):
                target = images / image["file_name"]
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
            annotations = unfinished / "annotations" / f"instances_{split}.json"
            annotations.parent.mkdir(exist_ok=True)
            annotations.write_text(json.dumps(content.document), encoding="utf-8")


def free_name(file: str, taken: set[str]) -> str:
    """A relative path for a picture that is not in ``taken``, its own if possible; adds it there.

    Absolute paths, and those that climb out of their folder, become the file's bare name.
    """
    path = PurePosixPath(file.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in file:
        path = PurePosixPath(path.name.replace(":", "_"))
    name, number = path, 1
    while str(name).casefold() in taken:  # some file systems do not tell cases apart
        number += 1
        name = path.with_stem(f"{path.stem}_{number}")
    taken.add(str(name).casefold())
    return str(name)
