"""What every reader of labels gives: one split as a document in COCO's form, not checked yet."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Problem:
    """Something in the files that could not be read at all, so that the document lacks it."""

    where: str
    """File, and line or object."""
    what: str

    def __str__(self) -> str:
        """One clause, without a full stop."""
        return f"{self.where}: {self.what}"


@dataclass(frozen=True)
class RawSplit:
    """One split of a data set as its files have it."""

    source: Path
    """The annotation file, or the folder of them."""
    images: Path
    """What every ``file_name`` is relative to."""
    document: dict[str, Any]
    """COCO instances: ``images``, ``annotations``, ``categories``. Readers of other formats add to
    an image or annotation where it came from, under ``origin``, as ``labels/a.txt:3``."""
    problems: tuple[Problem, ...] = ()
