"""Data sets as users have them: recognised by looking, read as documents in COCO's form."""

from collections.abc import Callable
from pathlib import Path

from yolact.data.coco import CocoInstances, check_document
from yolact.data.formats import coco, cvat, labelme, png, voc, yolo
from yolact.data.formats.raw import RawSplit, Reader
from yolact.data.formats.splits import UNNAMED, split_called
from yolact.errors import DataError

FORMATS: dict[str, Callable[[Path], dict[str, Reader]]] = {
    "COCO": coco.find_splits,
    "YOLO": yolo.find_splits,
    "LabelMe": labelme.find_splits,
    "CVAT": cvat.find_splits,
    "Pascal VOC": voc.find_splits,
    "PNG masks": png.find_splits,
}
"""Name of each format, and what finds its splits in a folder or file; nothing if it is another's."""


def recognise(data: Path) -> tuple[str, dict[str, Reader]]:
    """The format of a data set, and what reads each of its splits.

    Raises:
        DataError: If there is nothing, or it is of no known format, or of several.
    """
    if not data.exists():
        raise DataError(f"there is no data folder {data}.")
    found = {name: splits for name, find in FORMATS.items() if (splits := find(data))}
    if not found:
        raise DataError(
            f"{data} holds no labels of a known format: {', '.join(FORMATS)} (docs/formats.md)."
        )
    if len(found) > 1:
        raise DataError(
            f"{data} holds labels of several formats, {' and '.join(found)}: move all but one "
            "elsewhere, or name the file of one."
        )
    return found.popitem()


def list_splits(data: Path) -> tuple[str, ...]:
    """Names of the labelled splits of a data set, train, val and test first.

    Data that are not divided have one, called ``all``.

    Raises:
        DataError: If it is no data set of a known format.
    """
    return tuple(recognise(data)[1])


def read_split(data: Path, split: str) -> RawSplit:
    """One split of a data set in any known format, not checked.

    Args:
        data: The data set.
        split: As it is listed or as the data set calls it, like ``valid`` or ``val2017``. What is
            not divided answers to ``val`` too, so that it can be measured on; not to ``train``.

    Raises:
        DataError: If there is no such split, or no known format, or its files cannot be parsed.
    """
    exact = coco.find_named(data, split)
    if exact is not None:
        return exact()
    _, splits = recognise(data)
    names = (split, split_called(split))
    reader = next((splits[name] for name in names if name in splits), None)
    if reader is None and set(splits) == {UNNAMED}:
        if split_called(split) != "val":
            raise DataError(
                f"{data} is not divided, so it has no split {split}: "
                "'yolact data split' makes train and val of it."
            )
        reader = splits[UNNAMED]
    if reader is None:
        raise DataError(f"{data} has no split {split}; it has {', '.join(splits)}.")
    return reader()


def load_split(data: Path, split: str, *, needs_labels: bool = True) -> CocoInstances:
    """One split of a data set in any known format, checked.

    Raises:
        DataError: As :func:`read_split` and :func:`yolact.data.coco.check_document`.
    """
    return check_document(read_split(data, split), needs_labels=needs_labels)
