"""Several splits as one data set, every picture and object with an id of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolact.data.coco import check_document
from yolact.data.doctor.writing import free_name
from yolact.data.formats.raw import RawSplit


@dataclass(frozen=True)
class MergedImage:
    """A picture with its objects."""

    entry: dict[str, Any]
    """``file_name`` is unique among all."""
    path: Path
    annotations: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Merged:
    """A whole data set."""

    rest: dict[str, Any]
    """What the first document holds besides its three lists."""
    categories: tuple[dict[str, Any], ...]
    images: tuple[MergedImage, ...]

    def document(self, positions: list[int]) -> dict[str, Any]:
        """COCO instances of some of the images."""
        chosen = [self.images[position] for position in positions]
        return self.rest | {
            "images": [image.entry for image in chosen],
            "annotations": [entry for image in chosen for entry in image.annotations],
            "categories": list(self.categories),
        }


def merge(splits: Mapping[str, RawSplit]) -> Merged:
    """Join splits: classes by name, ids of pictures and objects numbered from 1.

    Raises:
        DataError: If a split would be refused for training.
    """
    for raw in splits.values():
        check_document(raw)
    categories: dict[str, dict[str, Any]] = {}
    used: set[int] = set()
    images: list[MergedImage] = []
    taken: set[str] = set()
    num_objects = 0
    for raw in splits.values():
        numbers: dict[int, int] = {}
        for entry in raw.document["categories"]:
            if entry["name"] not in categories:
                free = entry["id"] if entry["id"] not in used else max(used) + 1
                used.add(free)
                categories[entry["name"]] = entry | {"id": free}
            numbers[entry["id"]] = categories[entry["name"]]["id"]
        objects: dict[int, list[dict[str, Any]]] = {}
        for entry in raw.document["annotations"]:
            objects.setdefault(entry["image_id"], []).append(entry)
        for entry in raw.document["images"]:
            image_id = len(images) + 1
            annotations = []
            for annotation in objects.get(entry["id"], ()):
                num_objects += 1
                ids = {
                    "id": num_objects,
                    "image_id": image_id,
                    "category_id": numbers[annotation["category_id"]],
                }
                annotations.append(annotation | ids)
            name = free_name(entry["file_name"], taken)
            images.append(
                MergedImage(
                    entry | {"id": image_id, "file_name": name},
                    raw.images / entry["file_name"],
                    tuple(annotations),
                )
            )
    first = next(iter(splits.values())).document
    rest = {k: v for k, v in first.items() if k not in ("images", "annotations", "categories")}
    return Merged(rest, tuple(categories.values()), tuple(images))
