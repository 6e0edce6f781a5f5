"""Data sets as users have them: recognised by looking, read as documents in COCO's form."""

from pathlib import Path

from yolact.data.coco import CocoInstances, check_document, read_document
from yolact.data.formats.coco import find_split
from yolact.data.formats.raw import RawSplit
from yolact.errors import DataError


def list_splits(data: Path) -> tuple[str, ...]:
    """Names of the splits of a data set, ``train`` and ``val`` first.

    Raises:
        DataError: If it is no data set of a known format.
    """
    found = []
    for split in ("train", "val", "test"):
        try:
            find_split(data, split)
        except DataError:
            continue
        found.append(split)
    if not found:
        raise DataError(f"{data} holds no labels of a known format.")
    return tuple(found)


def read_split(data: Path, split: str) -> RawSplit:
    """One split of a data set in any known format, not checked.

    Raises:
        DataError: If there is no such split, or no known format.
    """
    images, annotations = find_split(data, split)
    return RawSplit(annotations, images, read_document(annotations))


def load_split(data: Path, split: str, *, needs_labels: bool = True) -> CocoInstances:
    """One split of a data set in any known format, checked.

    Raises:
        DataError: As :func:`read_split` and :func:`yolact.data.coco.check_document`.
    """
    return check_document(read_split(data, split), needs_labels=needs_labels)
