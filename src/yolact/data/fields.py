"""One field of a COCO entry at a time: read it, or refuse it with one sentence.

Training stops at the first refusal (``data/coco.py``), the doctor collects all of them
(``data/doctor``); the sentences are the same. ``where`` names the entry in them.
"""

import reprlib
import sys
from pathlib import Path
from typing import Any

from yolact.data.images import image_sizes
from yolact.errors import DataError, ImageError

_LARGEST_WHOLE = 2**63 - 1
_LARGEST_NUMBER = sys.float_info.max


def check_list(document: dict[str, Any], key: str, path: Path) -> None:
    """Refuse a document without the list ``key``.

    Raises:
        DataError: If it is missing or something else.
    """
    if not isinstance(document.get(key), list):
        raise DataError(f"{path} is no COCO instances file: it has no list called {key}.")


def check_entry(entry: Any, where: str) -> None:
    """Refuse what is no JSON object.

    Raises:
        DataError: If it is none.
    """
    if not isinstance(entry, dict):
        raise DataError(f"{where} is not an object but {shown(entry)}.")


def whole(entry: dict[str, Any], key: str, where: str) -> int:
    """A whole number that fits into 64 bits.

    Raises:
        DataError: If it is missing or something else.
    """
    value = present(entry, key, where)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > _LARGEST_WHOLE:
        raise DataError(f"{where} has the {key} {shown(value)}, not a whole number.")
    return value


def text(entry: dict[str, Any], key: str, where: str) -> str:
    """A text.

    Raises:
        DataError: If it is missing or something else.
    """
    value = present(entry, key, where)
    if not isinstance(value, str):
        raise DataError(f"{where} has the {key} {shown(value)}, not a text.")
    return value


def present(entry: dict[str, Any], key: str, where: str) -> Any:
    """Anything but null.

    Raises:
        DataError: If it is missing.
    """
    value = entry.get(key)
    if value is None:
        raise DataError(f"{where} has no {key}.")
    return value


def size(image: dict[str, Any], where: str) -> tuple[int, int]:
    """(height, width) of an image entry, in pixels.

    Raises:
        DataError: If they are no whole numbers of at least 1.
    """
    height, width = whole(image, "height", where), whole(image, "width", where)
    if height < 1 or width < 1:
        raise DataError(f"{where} is said to be {width}x{height}, which no picture is.")
    return height, width


def check_picture(path: Path, size: tuple[int, int], where: str) -> None:
    """Refuse a picture whose header says something else than its entry.

    Raises:
        DataError: If there is no such picture, or it is not of this (height, width) once upright.
    """
    try:
        upright, stored = image_sizes(path)
    except ImageError as error:
        raise DataError(f"{where}: {error}") from error
    check_size(path, size, upright, stored, where)


def check_size(
    path: Path, size: tuple[int, int], upright: tuple[int, int], stored: tuple[int, int], where: str
) -> None:
    """Refuse an entry's (height, width) that is not the picture's once upright.

    Raises:
        DataError: If they differ.
    """
    if size != upright:
        hint = ""
        if size == stored:
            hint = " The labels were made on the unturned picture: its EXIF orientation says turn."
        raise DataError(
            f"{where} is said to be {size[1]}x{size[0]}, but {path} is "
            f"{upright[1]}x{upright[0]}.{hint}"
        )


def box(bbox: Any, size: tuple[int, int], where: str) -> tuple[float, float, float, float]:
    """COCO's x, y, width, height -> x1 y1 x2 y2, clipped to the picture.

    Raises:
        DataError: If it is no such box, or lies outside the picture of (height, width).
    """
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(map(_is_number, bbox)):
        raise DataError(f"{where} has the bbox {shown(bbox)}, not four finite numbers.")
    x, y, w, h = map(float, bbox)
    if w < 0 or h < 0:
        raise DataError(f"{where} has the bbox {bbox}, whose width or height is negative.")
    x1, y1, x2, y2 = max(x, 0.0), max(y, 0.0), min(x + w, size[1]), min(y + h, size[0])
    if x2 < x1 or y2 < y1:
        raise DataError(
            f"{where} has the bbox {bbox}, outside its picture of {size[1]}x{size[0]} pixels."
        )
    return x1, y1, float(x2), float(y2)


def area(annotation: dict[str, Any], where: str) -> float | None:
    """The area in pixels; None where the annotation has none.

    Raises:
        DataError: If it is no finite number, or negative.
    """
    value = annotation.get("area")
    if value is None:
        return None
    if not _is_number(value) or value < 0:
        raise DataError(f"{where} has the area {shown(value)}, not a number of pixels.")
    return float(value)


def is_crowd(annotation: dict[str, Any], where: str) -> bool:
    """Whether the annotation is a crowd region.

    Raises:
        DataError: If ``iscrowd`` is neither 0 nor 1, nor missing.
    """
    value = annotation.get("iscrowd")
    if value not in (None, 0, 1):
        raise DataError(f"{where} has the iscrowd {shown(value)}, not 0 or 1.")
    return bool(value)


def shown(value: Any) -> str:
    """The value for a message, shortened if it is long."""
    return reprlib.repr(value)


def _is_number(value: Any) -> bool:
    # Not math.isfinite, which fails on whole numbers that no float can hold.
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) <= _LARGEST_NUMBER
    )
