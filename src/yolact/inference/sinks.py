"""Results to files: overlays, JSON, COCO results, mask pictures, cut-outs."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from yolact.errors import UsageError
from yolact.files import replacing, write_text, writing_list
from yolact.results import Result

FORMATS = ("overlay", "json", "coco", "masks", "crops")


class ResultWriter:
    """Writes the results of one run into one folder, a subfolder for each format.

    ``overlay/NAME.png`` the picture with its objects drawn; ``json/NAME.json`` everything as data;
    ``masks/NAME/000-class.png`` a black and white picture for each object; ``crops/NAME/…`` each
    object cut out on transparency; ``coco_results.json`` all objects as COCO results, with the
    image ids explained in ``coco_images.json``. If the model judges its masks (YOLACT++) there is
    ``coco_mask_results.json``, too: the masks alone with their own scores, for tools and servers
    that know one score for each entry.
    """

    def __init__(self, folder: Path, formats: Sequence[str], category_ids: Sequence[int]) -> None:
        """Write ``formats``; an empty ``category_ids`` numbers the labels from 1.

        Raises:
            UsageError: If a format is unknown.
        """
        if unknown := [name for name in formats if name not in FORMATS]:
            raise UsageError(f"cannot save {unknown[0]!r}; there are {', '.join(FORMATS)}.")
        self._folder = folder
        self._formats = formats
        self._category_ids = category_ids or None
        self._names: set[str] = set()
        self._coco: list[dict[str, Any]] = []
        self._images: list[dict[str, Any]] = []

    def write(self, result: Result) -> None:
        """Write one result, all formats that are a file per picture."""
        name = self._unused_name(result)
        if "overlay" in self._formats:
            result.save(self._path("overlay", f"{name}.png"))
        if "json" in self._formats:
            text = json.dumps(result.to_dict(), indent=1)
            write_text(self._path("json", f"{name}.json"), text)
        if "masks" in self._formats:
            for index, mask in enumerate(result.masks):
                picture = Image.fromarray(mask.astype(np.uint8) * np.uint8(255))
                self._save(picture, "masks", name, index, result)
        if "crops" in self._formats:
            for index in range(len(result)):
                if (cutout := _cut_out(result, index)) is not None:
                    self._save(cutout, "crops", name, index, result)
        if "coco" in self._formats:
            image_id = len(self._images) + 1
            height, width = result.image_size
            self._images.append(
                {"id": image_id, "file_name": str(result.path), "height": height, "width": width}
            )
            self._coco += result.to_coco(image_id, self._category_ids)

    def close(self) -> None:
        """Write what holds all pictures together."""
        if "coco" in self._formats:
            write_text(self._folder / "coco_results.json", json.dumps(self._coco))
            write_text(self._folder / "coco_images.json", json.dumps(self._images))
            if any("mask_score" in entry for entry in self._coco):
                masks = json.dumps([_mask_alone(entry) for entry in self._coco])
                write_text(self._folder / "coco_mask_results.json", masks)

    def _unused_name(self, result: Result) -> str:
        # Pictures of the same name come from different folders.
        stem = result.path.stem if result.path is not None else "picture"
        name, number = stem, 1
        while name in self._names:
            number += 1
            name = f"{stem}-{number}"
        self._names.add(name)
        return name

    def _path(self, *parts: str) -> Path:
        return self._folder.joinpath(*parts)

    def _save(self, picture: Image.Image, kind: str, name: str, index: int, result: Result) -> None:
        label = result.names[result.labels[index]].replace("/", "-")
        with replacing(self._path(kind, name, f"{index:03d}-{label}.png")) as temporary:
            picture.save(temporary)


@contextmanager
def writing_server_files(
    masks: Path, boxes: Path
) -> Iterator[Callable[[Iterable[dict[str, Any]]], None]]:
    """Write what COCO's test server takes, a list with masks and one with boxes (spec 4.4).

    Gives a function that appends entries as ``Result.to_coco`` makes them. Boxes are rounded to a
    tenth of a pixel; what has no area in the picture is left out. A mask that has a score of its
    own (YOLACT++) has that one.

    Args:
        masks: The file of the segmentation results.
        boxes: The file of the box results.
    """
    with writing_list(masks) as add_masks, writing_list(boxes) as add_boxes:

        def add(entries: Iterable[dict[str, Any]]) -> None:
            for entry in entries:
                common = {key: entry[key] for key in ("image_id", "category_id", "score")}
                *corner, width, height = entry["bbox"]
                if width * height > 0:
                    box = [round(value, 1) for value in (*corner, width, height)]
                    add_boxes([common | {"bbox": box}])
                    add_masks([_mask_alone(entry)])

        yield add


def _mask_alone(entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "image_id": entry["image_id"],
        "category_id": entry["category_id"],
        "segmentation": entry["segmentation"],
        "score": entry.get("mask_score", entry["score"]),
    }


def _cut_out(result: Result, index: int) -> Image.Image | None:
    """The object's pixels, transparent around it; None if the mask is empty."""
    crop = result.masks.crop(index)
    height, width = crop.bitmap.shape
    if not crop.bitmap.size or result.image is None:
        return None
    pixels = result.image[crop.y : crop.y + height, crop.x : crop.x + width]
    alpha = crop.bitmap.astype(np.uint8) * np.uint8(255)
    return Image.fromarray(np.dstack((pixels, alpha)))
