"""What every reader of labels gives: one split as a document in COCO's form, not checked yet."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolact.data.images import image_sizes
from yolact.errors import ImageError


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
    """What every ``file_name`` is relative to, unless it is absolute."""
    document: dict[str, Any]
    """COCO instances: ``images``, ``annotations``, ``categories``. Readers of other formats add to
    an image or annotation where it came from, under ``origin``, as ``labels/a.txt:3``."""
    problems: tuple[Problem, ...] = ()


Reader = Callable[[], RawSplit]
"""Reads one split that was found."""


class Draft:
    """A document in the making. Ids count from 1 in the order of adding."""

    def __init__(self, images: Path) -> None:
        """Begin with nothing.

        Args:
            images: What file names are to be relative to.
        """
        self._images = images
        self._document: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": []}
        self._problems: list[Problem] = []

    def add_image(
        self, path: Path, origin: Path | str, size: tuple[int, int] | None = None
    ) -> tuple[int, tuple[int, int]] | None:
        """Add a picture.

        Args:
            path: The file.
            origin: Where the labels speak of it.
            size: (height, width) by the labels; the picture's own, upright, where they say nothing.

        Returns:
            Its id and size; None if the size has to be looked up and cannot, which is a problem.
        """
        if size is None:
            try:
                size, _ = image_sizes(path)
            except ImageError as error:
                self.add_problem(origin, str(error).rstrip("."))
                return None
        image_id = len(self._document["images"]) + 1
        name = path.relative_to(self._images) if path.is_relative_to(self._images) else path
        self._document["images"].append(
            {
                "id": image_id,
                "file_name": name.as_posix(),
                "height": size[0],
                "width": size[1],
                "origin": str(origin),
            }
        )
        return image_id, size

    def add_object(
        self,
        image_id: int,
        category_id: int,
        segmentation: Any,
        origin: str,
        is_crowd: bool = False,
        attributes: dict[str, Any] | None = None,
    ) -> None:
        """Add an object with its segmentation in any of COCO's forms."""
        annotation = {
            "id": len(self._document["annotations"]) + 1,
            "image_id": image_id,
            "category_id": category_id,
            "segmentation": segmentation,
            "iscrowd": int(is_crowd),
            "origin": origin,
        }
        if attributes:
            annotation["attributes"] = attributes
        self._document["annotations"].append(annotation)

    def add_problem(self, where: Path | str, what: str) -> None:
        """Note what cannot be read; ``what`` is a clause without a full stop."""
        self._problems.append(Problem(str(where), what))

    def finish(self, source: Path, categories: Iterable[tuple[int, str]]) -> RawSplit:
        """The split.

        Args:
            source: As of the split.
            categories: Id and name of each.
        """
        listed = [{"id": category_id, "name": name} for category_id, name in categories]
        document = self._document | {"categories": listed}
        return RawSplit(source, self._images, document, tuple(self._problems))


def find_picture(name: str, folders: Iterable[Path]) -> Path | None:
    """The picture that labels name, under any of some folders: with its path, then without it."""
    path = Path(name.replace("\\", "/"))
    for candidate in (path, Path(path.name)):
        for folder in folders:
            if candidate.name and is_file(found := folder / candidate):
                return found
    return None


def is_file(path: Path) -> bool:
    """Whether there is such a file; no for what cannot be a name at all."""
    return os.path.isfile(path)  # noqa: PTH113, because Path.is_file raises for a name too long
