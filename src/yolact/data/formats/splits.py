"""What splits are called, whoever named them: train, val, test, and ``all`` for one without name."""

import re
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

UNNAMED = "all"
"""The only split of data that is not divided."""

_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
    "default": UNNAMED,
    UNNAMED: UNNAMED,
}
_ORDER = ("train", "val", "test")


def split_called(name: str) -> str:
    """Our name of a split: ``val`` for ``valid``, ``Validation`` or ``val2017``."""
    plain = re.sub(r"[-_]?(19|20)\d\d$", "", name)
    return _NAMES.get(plain.lower(), plain)


def is_split_name(name: str) -> bool:
    """Whether everybody would take this for the name of a split."""
    return split_called(name) in _ORDER


def in_order(splits: dict[str, T]) -> dict[str, T]:
    """Train, val and test first, then the others by name."""
    names = [name for name in _ORDER if name in splits]
    return {name: splits[name] for name in names + sorted(splits.keys() - set(_ORDER))}


def split_folders(folder: Path) -> dict[str, Path]:
    """The folder of each split; the folder itself, unnamed, if none in it is called like one.

    Where one is, the others are splits too, whatever their names.
    """
    below = sorted(folder.glob("[!.]*/")) if folder.is_dir() else []
    if not any(is_split_name(path.name) for path in below):
        return {UNNAMED: folder}
    return in_order({split_called(path.name): path for path in below})


def picture_folder(split: str) -> str:
    """Where the pictures of a split go in what this project writes."""
    return "images" if split == UNNAMED else f"images/{split}"
