"""COCO annotation files as users have them, read and checked once. No pixels are decoded here."""

import json
import reprlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from faster_coco_eval.core import mask as coco_mask

from yolact.data import fields
from yolact.data.formats.raw import RawSplit
from yolact.errors import DataError
from yolact.ops.masks import CroppedMask
from yolact.ops.rle import decode_runs, rle_to_crop

SIZES = ("small", "medium", "large")
"""What COCO calls objects by their area, see :func:`size_of`."""
_SMALL, _LARGE = 32**2, 96**2  # pixels


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
    has_labels: bool = True
    """False for a file that lists pictures and categories only, as of COCO's test sets."""


def load_coco(images: Path, annotations: Path, *, needs_labels: bool = True) -> CocoInstances:
    """Read and check an annotation file and the headers of its pictures.

    Args:
        images: Folder of the pictures.
        annotations: COCO instances file.
        needs_labels: Refuse a file without annotations, as of COCO's test sets.

    Raises:
        DataError: As :func:`check_document`, or for broken JSON.
    """
    return check_document(
        RawSplit(annotations, images, read_document(annotations)), needs_labels=needs_labels
    )


def check_document(split: RawSplit, *, needs_labels: bool = True) -> CocoInstances:
    """Check a document in COCO's form, whatever its files were, and the headers of its pictures.

    Args:
        split: As read.
        needs_labels: Refuse a document without annotations, as of COCO's test sets.

    Raises:
        DataError: At the first thing that cannot be true, with file and object named (by
            ``origin`` where there is one): what a reader could not read, an unknown image or
            category, a duplicate id, a missing picture, a size that is not the picture's, an object
            without segmentation, or with one that cannot be read.
    """
    annotations, images, document = split.source, split.images, split.document
    if split.problems:
        raise DataError(f"{split.problems[0]}.")
    has_labels = needs_labels or "annotations" in document
    if not has_labels:
        document["annotations"] = []
    for key in ("images", "annotations", "categories"):
        fields.check_list(document, key, annotations)
        for index, entry in enumerate(document[key]):
            fields.check_entry(entry, f"{annotations}: {key}[{index}]")
    category_ids, class_names = _categories(document, annotations)
    label_of = {category_id: label for label, category_id in enumerate(category_ids)}
    by_image: dict[int, list[Annotation]] = {}
    sizes: dict[int, tuple[int, int]] = {}
    for index, image in enumerate(document["images"]):
        where = image.get("origin") or f"{annotations}: images[{index}]"
        image_id = fields.whole(image, "id", where)
        if image_id in by_image:
            raise DataError(f"{where} repeats the id {image_id}.")
        by_image[image_id] = []
        sizes[image_id] = fields.size(image, where)
        fields.check_picture(
            images / fields.text(image, "file_name", where), sizes[image_id], where
        )
    for index, annotation in enumerate(document["annotations"]):
        where = annotation.get("origin") or (
            f"{annotations}: annotations[{index}] (id {fields.shown(annotation.get('id'))})"
        )
        image_id = fields.whole(annotation, "image_id", where)
        category_id = fields.whole(annotation, "category_id", where)
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
    return CocoInstances(annotations, class_names, category_ids, records, document, has_labels)


def keep_classes(instances: CocoInstances, names: Collection[str]) -> CocoInstances:
    """The same pictures with the objects of some classes only, labels numbered anew.

    Raises:
        DataError: If the data has none of these classes.
    """
    kept = [label for label, name in enumerate(instances.class_names) if name in names]
    if not kept:
        raise DataError(f"{instances.source} has no class {' or '.join(sorted(names))}.")
    label_of = {label: new for new, label in enumerate(kept)}
    category_ids = tuple(instances.category_ids[label] for label in kept)
    truth = instances.ground_truth
    return replace(
        instances,
        class_names=tuple(instances.class_names[label] for label in kept),
        category_ids=category_ids,
        records=tuple(
            replace(
                record,
                annotations=tuple(
                    replace(a, label=label_of[a.label])
                    for a in record.annotations
                    if a.label in label_of
                ),
            )
            for record in instances.records
        ),
        ground_truth=truth
        | {
            "categories": [c for c in truth["categories"] if c["id"] in category_ids],
            "annotations": [a for a in truth["annotations"] if a["category_id"] in category_ids],
        },
    )


def size_of(area: float) -> str:
    """Small is below 32² pixels, large above 96².

    AP by size counts an object of exactly 32² or 96² pixels on both sides; here it is medium.
    """
    return "small" if area < _SMALL else "large" if area > _LARGE else "medium"


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
        _check_polygons(segmentation, height, width)
        rle: dict[str, Any] = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
        return rle
    if not isinstance(segmentation, dict) or not {"size", "counts"} <= set(segmentation):
        raise ValueError("a segmentation is a list of polygons or an RLE with size and counts")
    size, counts = segmentation["size"], segmentation["counts"]
    if not isinstance(size, list | tuple) or list(size) != [height, width]:
        raise ValueError(f"the RLE is {reprlib.repr(size)}, the picture {[height, width]}")
    rle = {"size": [height, width], "counts": counts}
    if isinstance(counts, list):
        if not all(isinstance(count, Integral) for count in counts):
            raise ValueError("the counts of an RLE are whole numbers")
        if min(counts, default=0) < 0 or sum(counts) != height * width:
            raise ValueError("the counts of the RLE do not add up to the picture")
        rle = coco_mask.frPyObjects(rle, height, width)
    else:
        decode_runs(rle)
    return rle


def read_mask(annotation: dict[str, Any], size: tuple[int, int], where: str) -> dict[str, Any]:
    """The compressed RLE of an annotation on a picture of (height, width).

    Raises:
        DataError: If it has none, or none that can be read.
    """
    try:
        return to_rle(fields.present(annotation, "segmentation", where), *size)
    except ValueError as error:
        raise DataError(f"{where} has a segmentation that cannot be read: {error}.") from error


def _check_polygons(polygons: list[Any], height: int, width: int) -> None:
    """Refuse what the library would crash on, or read as something else.

    It draws an outline point by point, so its time and memory grow with the coordinates; hence the
    limit. Polygons a little outside the picture are common.
    """
    far = max(height, width)
    if not polygons:
        raise ValueError("there is no polygon")
    for polygon in polygons:
        if not isinstance(polygon, list):
            raise ValueError("a polygon is a list of x, y, x, y, …")
        if not all(
            issubclass(kind, Real) and not issubclass(kind, bool)
            for kind in set(map(type, polygon))
        ):
            raise ValueError("a polygon has a coordinate that is not a number")
        if len(polygon) < 6 or len(polygon) % 2:
            raise ValueError(
                f"a polygon has {len(polygon)} numbers, which are not three or more x, y pairs"
            )
        # NaN makes any comparison false.
        if not all(-far <= value <= 2 * far for value in polygon):
            raise ValueError("a polygon has a coordinate far outside the picture or not finite")


def read_document(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        DataError: If there is no such file, or it holds something else.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise DataError(f"there is no annotation file {path}.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not readable JSON: {error}.") from error
    if not isinstance(document, dict):
        raise DataError(
            f"{path} is no COCO instances file: it holds a {type(document).__name__}, not an "
            "object with images, annotations and categories."
        )
    return document


def _categories(document: dict[str, Any], path: Path) -> tuple[tuple[int, ...], tuple[str, ...]]:
    names: dict[int, str] = {}
    for index, category in enumerate(document["categories"]):
        where = f"{path}: categories[{index}]"
        category_id = fields.whole(category, "id", where)
        if category_id in names:
            raise DataError(f"{where} repeats the id {category_id}.")
        names[category_id] = fields.text(category, "name", where)
    if not names:
        raise DataError(f"{path} names no categories.")
    ids = tuple(sorted(names))
    return ids, tuple(names[category_id] for category_id in ids)


def _annotation(
    annotation: dict[str, Any], label: int, size: tuple[int, int], where: str
) -> Annotation:
    rle = read_mask(annotation, size, where)
    fields.area(annotation, where)
    bbox = annotation.get("bbox")
    if bbox in (None, []):
        bbox = coco_mask.toBbox(rle).tolist()
    segmentation = annotation["segmentation"]
    return Annotation(
        label=label,
        box=fields.box(bbox, size, where),
        segmentation=segmentation if isinstance(segmentation, list) else rle,
        is_crowd=fields.is_crowd(annotation, where),
    )
