"""COCO annotation files as users have them, read and checked once. No pixels are decoded here."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faster_coco_eval.core import mask as coco_mask

from yolact.data.images import image_sizes
from yolact.errors import DataError, ImageError
from yolact.ops.masks import CroppedMask
from yolact.ops.rle import rle_to_crop


@dataclass(frozen=True)
class Annotation:
    """One object, or one crowd region."""

    label: int
    """0 … C-1."""
    box: tuple[float, float, float, float]
    """x1 y1 x2 y2 in pixels, clipped to the image."""
    segmentation: Any
    """COCO's own: polygons, or an RLE with or without compression."""
    is_crowd: bool


@dataclass(frozen=True)
class ImageRecord:
    """One picture and what is on it."""

    image_id: int
    path: Path
    height: int
    width: int
    annotations: tuple[Annotation, ...]


@dataclass(frozen=True)
class CocoInstances:
    """One split of a data set."""

    source: Path
    """The annotation file."""
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    """The file's id of each label; ascending, with gaps as the file has them."""
    records: tuple[ImageRecord, ...]
    ground_truth: dict[str, Any]
    """The parsed annotation file, for the evaluator."""


def find_split(data: Path, split: str) -> tuple[Path, Path]:
    """Folder of pictures and annotation file of one split of ``data``.

    Looks for ``annotations/instances_<split>.json`` (also with a year, as COCO has it), with the
    pictures in ``images/``, ``<split>/`` or ``<split><year>/``.

    Raises:
        DataError: If either is missing; the message says what was looked for.
    """
    if not data.is_dir():
        raise DataError(f"there is no data folder {data}.")
    folder = data / "annotations"
    found = [folder / f"instances_{split}.json", *sorted(folder.glob(f"instances_{split}20*.json"))]
    annotations = next((path for path in found if path.is_file()), None)
    if annotations is None:
        raise DataError(f"{data} has no annotations/instances_{split}.json.")
    name = annotations.stem.removeprefix("instances_")
    candidates = [data / name, data / "images" / name, data / "images" / split, data / "images"]
    images = next((path for path in candidates if path.is_dir()), None)
    if images is None:
        raise DataError(f"{data} has neither a folder {name} nor images for its pictures.")
    return images, annotations


def load_coco(images: Path, annotations: Path) -> CocoInstances:
    """Read and check an annotation file and the headers of its pictures.

    Raises:
        DataError: At the first thing that cannot be true, with file and object named: broken JSON,
            an unknown image or category, a duplicate id, a missing picture, a size that is not the
            picture's, an object without box or segmentation, or with one that cannot be read.
    """
    document = _parse(annotations)
    category_ids, class_names = _categories(document, annotations)
    label_of = {category_id: label for label, category_id in enumerate(category_ids)}
    by_image: dict[int, list[Annotation]] = {}
    sizes: dict[int, tuple[int, int]] = {}
    for index, image in enumerate(document["images"]):
        where = f"{annotations}: images[{index}]"
        image_id = _field(image, "id", int, where)
        if image_id in by_image:
            raise DataError(f"{where} repeats the id {image_id}.")
        by_image[image_id] = []
        sizes[image_id] = (
            _field(image, "height", int, where),
            _field(image, "width", int, where),
        )
        _check_picture(images / _field(image, "file_name", str, where), sizes[image_id], where)
    for index, annotation in enumerate(document["annotations"]):
        where = f"{annotations}: annotations[{index}] (id {annotation.get('id')})"
        image_id = _field(annotation, "image_id", int, where)
        category_id = _field(annotation, "category_id", int, where)
        if image_id not in by_image:
            raise DataError(f"{where} belongs to image {image_id}, which is not in the file.")
        if category_id not in label_of:
            raise DataError(f"{where} has category {category_id}, which is not in the file.")
        by_image[image_id].append(
            _annotation(annotation, label_of[category_id], sizes[image_id], where)
        )
    records = tuple(
        ImageRecord(
            image_id=image["id"],
            path=images / image["file_name"],
            height=image["height"],
            width=image["width"],
            annotations=tuple(by_image[image["id"]]),
        )
        for image in document["images"]
    )
    return CocoInstances(annotations, class_names, category_ids, records, document)


def decode_mask(segmentation: Any, height: int, width: int) -> CroppedMask:
    """Rasterise one COCO segmentation, whatever its form, where it holds something.

    Several polygons are the parts of one object; an RLE may have holes.

    Raises:
        ValueError: If the segmentation is none of COCO's forms, or of another size.
    """
    return rle_to_crop(to_rle(segmentation, height, width))


def to_rle(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    """One compressed RLE for a COCO segmentation of any form.

    Raises:
        ValueError: As :func:`decode_mask`.
    """
    if isinstance(segmentation, list):
        if not segmentation or not all(
            isinstance(part, list) and len(part) >= 6 and len(part) % 2 == 0
            for part in segmentation
        ):
            raise ValueError("polygons are lists of at least three x, y pairs")
        if not all(math.isfinite(value) for part in segmentation for value in part):
            raise ValueError("a polygon has a coordinate that is not a finite number")
        rle: dict[str, Any] = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
        return rle
    if not isinstance(segmentation, dict) or set(segmentation) < {"size", "counts"}:
        raise ValueError("a segmentation is a list of polygons or an RLE with size and counts")
    if list(segmentation["size"]) != [height, width]:
        raise ValueError(f"the RLE is {segmentation['size']}, the picture {[height, width]}")
    counts = segmentation["counts"]
    if isinstance(counts, list):
        if sum(counts) != height * width or min(counts, default=0) < 0:
            raise ValueError("the RLE's counts do not add up to the picture")
        segmentation = coco_mask.frPyObjects(segmentation, height, width)
    return segmentation


def _parse(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"there is no annotation file {path}.") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not readable JSON: {error}") from error
    for key in ("images", "annotations", "categories"):
        if not isinstance(document, dict) or not isinstance(document.get(key), list):
            raise DataError(f"{path} is no COCO instances file: it has no list called {key}.")
        if not all(isinstance(entry, dict) for entry in document[key]):
            raise DataError(f"{path} is no COCO instances file: {key} must hold objects.")
    return document


def _categories(document: dict[str, Any], path: Path) -> tuple[tuple[int, ...], tuple[str, ...]]:
    names: dict[int, str] = {}
    for index, category in enumerate(document["categories"]):
        where = f"{path}: categories[{index}]"
        category_id = _field(category, "id", int, where)
        if category_id in names:
            raise DataError(f"{where} repeats the id {category_id}.")
        names[category_id] = _field(category, "name", str, where)
    if not names:
        raise DataError(f"{path} names no categories.")
    ids = tuple(sorted(names))
    return ids, tuple(names[category_id] for category_id in ids)


def _field(entry: dict[str, Any], key: str, kind: type, where: str) -> Any:
    value = entry.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise DataError(f"{where} has no valid {key}: {value!r}.")
    return value


def _check_picture(path: Path, size: tuple[int, int], where: str) -> None:
    try:
        upright, stored = image_sizes(path)
    except ImageError as error:
        raise DataError(f"{where}: {error}") from error
    if size != upright:
        hint = ""
        if size == stored:
            hint = " The labels were made on the unturned picture: its EXIF orientation says turn."
        raise DataError(
            f"{where} is said to be {size[1]}x{size[0]}, but {path} is "
            f"{upright[1]}x{upright[0]}.{hint}"
        )


def _annotation(
    annotation: dict[str, Any], label: int, size: tuple[int, int], where: str
) -> Annotation:
    height, width = size
    segmentation = annotation.get("segmentation")
    try:
        rle = to_rle(segmentation, height, width)
        # Decoding is the only check that a compressed RLE is sound, but too slow for all of them;
        # its area costs nothing and fails on most damage.
        coco_mask.area(rle)
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{where} has a segmentation that cannot be read: {error}.") from error
    box = annotation.get("bbox")
    if box is None:
        box = coco_mask.toBbox(rle).tolist()
    if len(box) != 4 or not all(
        isinstance(value, int | float) and math.isfinite(value) for value in box
    ):
        raise DataError(f"{where} has no valid bbox: {box!r}.")
    x, y, w, h = box
    x1, y1, x2, y2 = max(x, 0.0), max(y, 0.0), min(x + w, width), min(y + h, height)
    if w < 0 or h < 0 or x2 < x1 or y2 < y1:
        raise DataError(f"{where} has a bbox outside its picture: {box}.")
    return Annotation(
        label=label,
        box=(float(x1), float(y1), float(x2), float(y2)),
        segmentation=segmentation if isinstance(segmentation, list) else rle,
        is_crowd=bool(annotation.get("iscrowd", 0)),
    )
