"""COCO average precision of boxes and masks, equal to ``pycocotools`` but compiled.

Boxes and masks are two separate rankings: each judges size and overlap by its own shape. Masks
stay run-length encoded throughout, so memory grows with the objects, not with the pixels.
"""

import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from faster_coco_eval.core import mask as rle_api
from numpy.typing import ArrayLike, NDArray

from yolact.data.coco import to_rle
from yolact.errors import DataError, UsageError

Rle = Mapping[str, Any]
"""A compressed mask as COCO writes it: {"size": [height, width], "counts": bytes or str}."""

# What the run-length library raises about a segmentation it cannot read.
_RLE_ERRORS = (TypeError, ValueError, RuntimeError, LookupError)


@dataclass(frozen=True)
class AveragePrecision:
    """AP and AR of one shape. Each is in [0, 1], or None where there is no object to find.

    All are means over the IoU thresholds 0.50, 0.55 … 0.95 and over the classes that have objects,
    except ``ap50`` and ``ap75``, which use one threshold. Small is below 32² px, large above 96².
    """

    ap: float | None = None
    ap50: float | None = None
    ap75: float | None = None
    ap_small: float | None = None
    ap_medium: float | None = None
    ap_large: float | None = None
    ar: float | None = None
    ar_small: float | None = None
    ar_medium: float | None = None
    ar_large: float | None = None


@dataclass(frozen=True)
class ClassMetrics:
    """The numbers of one class."""

    mask: AveragePrecision
    box: AveragePrecision
    num_objects: int
    """Objects in the ground truth; crowds do not count."""


@dataclass(frozen=True)
class Metrics:
    """The numbers of a data set."""

    mask: AveragePrecision
    """All None if the detections came without masks."""
    box: AveragePrecision
    per_class: dict[str, ClassMetrics]
    """Every category of the ground truth by name, in the order of the category ids."""
    num_images: int
    """All images of the ground truth, with detections or not."""
    num_detections: int
    """All that were given, before the cut at ``max_detections``."""
    max_detections: int
    """Best detections that counted, per image and class."""

    def to_dict(self) -> dict[str, Any]:
        """The same, nested under the same names, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Metrics":
        """Read what :meth:`to_dict` gave."""
        classes = {
            name: ClassMetrics(
                AveragePrecision(**numbers["mask"]),
                AveragePrecision(**numbers["box"]),
                numbers["num_objects"],
            )
            for name, numbers in values["per_class"].items()
        }
        shapes = {shape: AveragePrecision(**values[shape]) for shape in ("mask", "box")}
        return cls(**{**values, **shapes, "per_class": classes})


@dataclass(frozen=True)
class Found:
    """Detections of one image, in the order they were given."""

    boxes: NDArray[np.float64]
    """(N, 4) x y width height, pixels, as COCO stores boxes."""
    scores: NDArray[np.float64]
    """Of the boxes."""
    mask_scores: NDArray[np.float64]
    category_ids: NDArray[np.int64]
    masks: Sequence[Rle]
    """N, or none at all if the detections are boxes only."""
    mask_areas: NDArray[np.float64]
    """Pixels, one for each mask."""


@dataclass(frozen=True)
class _Tables:
    """What COCOeval accumulates; -1 where a class has no objects. T thresholds, K classes."""

    precision: NDArray[np.float64]
    """(T, 101 recalls, K, 4 area ranges)."""
    recall: NDArray[np.float64]
    """(T, K, 4 area ranges)."""


class CocoEvaluator:
    """Collects detections image by image, in any order, and computes AP over all of them."""

    def __init__(self, ground_truth: Mapping[str, Any], *, max_detections: int = 100) -> None:
        """Prepare the ground truth.

        Args:
            ground_truth: COCO instances as parsed from JSON; it is not changed. Segmentations may
                be polygons or run-lengths. Missing ``area`` and ``bbox`` follow from the mask, and
                missing ``iscrowd`` means no crowd.
            max_detections: How many of the best detections count, per image and class; COCO's
                number is 100.

        Raises:
            DataError: The ground truth contradicts itself or lacks something needed.
            UsageError: ``max_detections`` is below 1.
        """
        if max_detections < 1:
            raise UsageError(f"max_detections must be at least 1, not {max_detections}.")
        self._max_detections = max_detections
        self._truth = _prepare_ground_truth(ground_truth)
        self._sizes = _image_sizes(self._truth["images"])
        self._names = _category_names(self._truth["categories"])
        self._found: dict[int, Found] = {}
        self._accumulated: dict[str, _Tables | None] = {}

    @property
    def names(self) -> Mapping[int, str]:
        """Class names by category id, in the order of the ids; repeated names show their id."""
        return self._names

    @property
    def annotations(self) -> Mapping[int, Sequence[Mapping[str, Any]]]:
        """Of every image by its id, in the order of the ground truth, crowds among them.

        Each has ``category_id``, ``segmentation`` (compressed), ``bbox``, ``area`` and ``iscrowd``.
        """
        by_image: dict[int, list[Mapping[str, Any]]] = {image_id: [] for image_id in self._sizes}
        for annotation in self._truth["annotations"]:
            by_image[annotation["image_id"]].append(annotation)
        return by_image

    @property
    def found(self) -> Mapping[int, Found]:
        """What has been added so far, by image id."""
        return self._found

    def update(
        self,
        image_id: int,
        boxes: ArrayLike,
        scores: ArrayLike,
        category_ids: ArrayLike,
        masks: Sequence[Rle],
        mask_scores: ArrayLike | None = None,
    ) -> None:
        """Add all detections of one image; each image may come once.

        Args:
            image_id: An image of the ground truth.
            boxes: (N, 4) x1 y1 x2 y2 in pixels.
            scores: (N,) finite; higher is surer.
            category_ids: (N,) int, ids of the ground truth's categories.
            masks: N compressed masks at the size of the image.
            mask_scores: (N,) finite, if masks rank by other scores than boxes.

        Raises:
            DataError: An id is unknown, the image came before, a number is not finite, or the
                lengths or mask sizes do not fit.
        """
        if image_id not in self._sizes:
            raise DataError(f"The ground truth has no image {image_id}.")
        if image_id in self._found:
            raise DataError(f"The detections of image {image_id} came twice.")
        where = f"A detection of image {image_id}"
        for mask in masks:
            if list(mask["size"]) != list(self._sizes[image_id]):
                raise DataError(
                    f"{where} has a mask of height and width {list(mask['size'])}, its image "
                    f"{list(self._sizes[image_id])}."
                )
        corners = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        found = Found(
            boxes=np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]]),
            scores=np.asarray(scores, dtype=np.float64),
            mask_scores=np.asarray(
                scores if mask_scores is None else mask_scores, dtype=np.float64
            ),
            category_ids=np.asarray(category_ids, dtype=np.int64),
            masks=list(masks),
            mask_areas=np.array([_area(mask, where) for mask in masks]),
        )
        self._check(found, where)
        self._found[image_id] = found
        self._accumulated.clear()

    def pool(self, gather: Callable[[tuple[Any, ...]], tuple[Any, ...]]) -> None:
        """Take over what the evaluators of other processes have been given.

        Args:
            gather: The tuples of all processes, joined; called in each of them.
        """
        self._found = dict(gather(tuple(self._found.items())))
        self._accumulated.clear()

    def compute(self) -> Metrics:
        """Metrics of everything added so far; images without detections count as missed."""
        return self._compute(with_masks=True)

    def precision(self, shape: Literal["mask", "box"]) -> NDArray[np.float64]:
        """What AP is the mean of; found once together with :meth:`compute`.

        Returns:
            (10, C, 101): at the IoU thresholds 0.50, 0.55 … 0.95, for each class, the precision at recall
            0, 0.01 … 1; -1 for classes without objects.
        """
        tables = self._tables("segm" if shape == "mask" else "bbox")
        if tables is None:
            return np.full((10, len(self._names), 101), -1.0)
        return tables.precision[..., 0].swapaxes(1, 2)

    def _check(self, found: Found, where: str) -> None:
        parts = (found.boxes, found.scores, found.category_ids, found.masks, found.mask_scores)
        lengths = [len(part) for part in parts]
        if len(set(lengths)) > 1:
            raise DataError(
                f"{where} is incomplete: boxes, scores, categories, masks and mask scores number "
                f"{lengths}."
            )
        if not all(np.isfinite(p).all() for p in (found.boxes, found.scores, found.mask_scores)):
            raise DataError(f"{where} has a box or score that is not finite.")
        for category_id in set(found.category_ids.tolist()) - set(self._names):
            raise DataError(f"{where} has category {category_id}, which does not exist.")

    def _compute(self, *, with_masks: bool) -> Metrics:
        box = self._tables("bbox")
        mask = self._tables("segm") if with_masks else None
        counts = dict.fromkeys(self._names, 0)
        for annotation in self._truth["annotations"]:
            counts[annotation["category_id"]] += not annotation["iscrowd"]
        per_class = {
            name: ClassMetrics(
                mask=_summarise(mask, slice(k, k + 1)),
                box=_summarise(box, slice(k, k + 1)),
                num_objects=counts[category_id],
            )
            for k, (category_id, name) in enumerate(self._names.items())
        }
        return Metrics(
            mask=_summarise(mask, slice(None)),
            box=_summarise(box, slice(None)),
            per_class=per_class,
            num_images=len(self._sizes),
            num_detections=sum(len(found.scores) for found in self._found.values()),
            max_detections=self._max_detections,
        )

    def _tables(self, shape: str) -> _Tables | None:
        """Match and accumulate, once for all that has been added so far."""
        if shape not in self._accumulated:
            self._accumulated[shape] = self._accumulate(shape)
        return self._accumulated[shape]

    def _accumulate(self, shape: str) -> _Tables | None:
        """None if the ground truth has nothing to match with."""
        if not self._truth["annotations"]:
            return None
        # The library writes into the annotations, so each run gets its own dictionaries.
        truth = {**self._truth, "annotations": [dict(a) for a in self._truth["annotations"]]}
        found = {**self._truth, "annotations": list(self._detections(shape))}
        evaluation = COCOeval_faster(
            COCO(truth, print_function=_silent),
            COCO(found, print_function=_silent),
            iouType=shape,
            print_function=_silent,
        )
        # COCO's other cuts, 1 and 10, change nothing at the largest one, and nothing shows them.
        evaluation.params.maxDets = [self._max_detections]
        evaluation.evaluate()
        evaluation.accumulate()
        return _Tables(
            precision=np.asarray(evaluation.eval["precision"])[..., -1],
            recall=np.asarray(evaluation.eval["recall"])[..., -1],
        )

    def _detections(self, shape: str) -> Iterable[dict[str, Any]]:
        """Detections in COCO's form, sized by their ``shape``, in an order that is always the same.

        Equal scores rank in this order, so it must not depend on the order of the updates.
        """
        number = 0
        for image_id in sorted(self._found):
            found = self._found[image_id]
            as_masks = shape == "segm"
            areas = found.mask_areas if as_masks else found.boxes[:, 2] * found.boxes[:, 3]
            scores = found.mask_scores if as_masks else found.scores
            for i, score in enumerate(scores.tolist()):
                number += 1
                yield {
                    "id": number,
                    "image_id": image_id,
                    "category_id": int(found.category_ids[i]),
                    "score": score,
                    "area": float(areas[i]),
                    "iscrowd": 0,
                    **({"segmentation": found.masks[i]} if as_masks else {}),
                    "bbox": found.boxes[i].tolist(),
                }


def evaluate_results(
    results: Sequence[Mapping[str, Any]],
    ground_truth: Mapping[str, Any],
    *,
    max_detections: int = 100,
) -> Metrics:
    """Metrics of a COCO results list, whoever wrote it.

    Args:
        results: Items with ``image_id``, ``category_id``, ``score`` and ``segmentation`` (polygons
            or run-lengths), ``bbox`` (x, y, width, height in pixels), or both. A missing box
            follows from the mask. Without any segmentation, the mask metrics are None. Masks of
            entries with a ``mask_score`` rank by it (see ``Result.to_coco``).
        ground_truth: COCO instances as parsed from JSON; it is not changed.
        max_detections: How many of the best detections count, per image and class.

    Raises:
        DataError: An entry lacks something, names an unknown image or category, or has a mask that
            does not fit its image; or the ground truth contradicts itself.
    """
    evaluator = CocoEvaluator(ground_truth, max_detections=max_detections)
    # No detections at all are no reason to hide the mask metrics: they are zero.
    with_masks = not results or any(_has(entry, "segmentation") for entry in results)
    by_image: dict[int, list[tuple[str, Mapping[str, Any]]]] = {}
    for index, entry in enumerate(results):
        where = f"Entry {index} of the results"
        _check_entry(entry, where)
        _check_ids(entry, where, evaluator._sizes, evaluator._names)
        if with_masks and not _has(entry, "segmentation"):
            raise DataError(f"{where} has no segmentation, though others have one.")
        by_image.setdefault(entry["image_id"], []).append((where, entry))
    for image_id, entries in by_image.items():
        evaluator._found[image_id] = _parse_entries(entries, evaluator._sizes[image_id])
    return evaluator._compute(with_masks=with_masks)


def load_results(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read a COCO results file and check that each entry is complete.

    Whether images and categories exist shows only beside the ground truth; see
    ``evaluate_results``.

    Raises:
        DataError: The file cannot be read, is no JSON list, or has an entry that lacks a key or
            whose values make no sense; the message names the entry, counted from 0.
    """
    try:
        results = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}.") from error
    if not isinstance(results, list):
        raise DataError(f"{path} must hold a list of detections, not a {type(results).__name__}.")
    for index, entry in enumerate(results):
        _check_entry(entry, f"Entry {index} of {path}")
    return results


def _summarise(tables: _Tables | None, classes: slice) -> AveragePrecision:
    if tables is None:
        return AveragePrecision()
    precision, recall = tables.precision[:, :, classes], tables.recall[:, classes]
    return AveragePrecision(
        ap=_mean(precision[..., 0]),
        ap50=_mean(precision[0, ..., 0]),
        ap75=_mean(precision[5, ..., 0]),
        ap_small=_mean(precision[..., 1]),
        ap_medium=_mean(precision[..., 2]),
        ap_large=_mean(precision[..., 3]),
        ar=_mean(recall[..., 0]),
        ar_small=_mean(recall[..., 1]),
        ar_medium=_mean(recall[..., 2]),
        ar_large=_mean(recall[..., 3]),
    )


def _mean(values: NDArray[np.float64]) -> float | None:
    """Mean of what is there to measure; None if nothing is."""
    present = values[values > -1]
    return float(present.mean()) if present.size else None


def _silent(*_: object) -> None:
    """Swallow what the library would log."""


def _prepare_ground_truth(ground_truth: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with only what the evaluation reads, complete, and with masks compressed."""
    for key in ("images", "annotations", "categories"):
        # An empty list is fine here, so this is not ``_pick``.
        if not isinstance(ground_truth, Mapping) or not isinstance(ground_truth.get(key), list):
            raise DataError(f"The ground truth has no list of {key}.")
    images = _prepare_list(ground_truth["images"], "Image", ("id", "height", "width"), ())
    categories = _prepare_list(ground_truth["categories"], "Category", ("id",), ("name",))
    sizes, names = _image_sizes(images), _category_names(categories)
    annotations = [
        # Numbered anew from 1, since the evaluation takes an id of 0 for "not matched".
        {"id": i + 1, **_prepare_annotation(annotation, f"Annotation {i}", sizes, names)}
        for i, annotation in enumerate(ground_truth["annotations"])
    ]
    return {"images": images, "annotations": annotations, "categories": categories}


def _prepare_list(
    items: Sequence[Any], kind: str, whole: tuple[str, ...], other: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Images or categories, with those keys that must be whole numbers, and others."""
    kept = []
    for i, item in enumerate(items):
        where = f"{kind} {i} of the ground truth"
        kept.append(_pick(item, whole + other, where))
        _check_whole(kept[-1], whole, where)
    if len({item["id"] for item in kept}) < len(kept):
        raise DataError(f"The ground truth uses an id for more than one {kind.lower()}.")
    return kept


def _prepare_annotation(
    annotation: Any, where: str, sizes: dict[int, tuple[int, int]], names: dict[int, str]
) -> dict[str, Any]:
    where = f"{where} of the ground truth"
    kept = _pick(annotation, ("image_id", "category_id", "segmentation"), where)
    _check_whole(kept, ("image_id", "category_id"), where)
    _check_ids(kept, where, sizes, names)
    mask = _compress(kept["segmentation"], sizes[kept["image_id"]], where)
    box, area = annotation.get("bbox") or _box_of(mask), annotation.get("area")
    _check_box(box, where)
    return {
        "image_id": kept["image_id"],
        "category_id": kept["category_id"],
        "segmentation": mask,
        "bbox": box,
        "area": float(rle_api.area(mask)) if area is None else area,
        "iscrowd": int(annotation.get("iscrowd") or 0),
    }


def _pick(item: Any, keys: Sequence[str], where: str) -> dict[str, Any]:
    if not isinstance(item, Mapping):
        raise DataError(f"{where} is not an object with keys.")
    for key in keys:
        if not _has(item, key):
            raise DataError(f"{where} has no {key}.")
    return {key: item[key] for key in keys}


def _has(item: Any, key: str) -> bool:
    """Whether ``key`` is there with a value; some writers put null or [] for what they lack."""
    value = item.get(key) if isinstance(item, Mapping) else None
    return value is not None and not (isinstance(value, list) and not value)


def _check_whole(item: Mapping[str, Any], keys: Sequence[str], where: str) -> None:
    for key in keys:
        if not isinstance(item[key], Integral):
            raise DataError(f"{where} has the {key} {item[key]!r}, not a whole number.")


def _image_sizes(images: Iterable[Mapping[str, Any]]) -> dict[int, tuple[int, int]]:
    return {image["id"]: (image["height"], image["width"]) for image in images}


def _category_names(categories: Iterable[Mapping[str, Any]]) -> dict[int, str]:
    """Names by id, sorted by id as COCOeval sorts its classes; repeated names show their id."""
    names = {category["id"]: str(category["name"]) for category in categories}
    times = Counter(names.values())
    return {i: names[i] if times[names[i]] == 1 else f"{names[i]} ({i})" for i in sorted(names)}


def _check_ids(
    item: Mapping[str, Any], where: str, sizes: dict[int, tuple[int, int]], names: dict[int, str]
) -> None:
    if item["image_id"] not in sizes:
        raise DataError(f"{where} is about image {item['image_id']}, which does not exist.")
    if item["category_id"] not in names:
        raise DataError(f"{where} has category {item['category_id']}, which does not exist.")


def _check_entry(entry: Any, where: str) -> None:
    """Check one result without the ground truth."""
    _pick(entry, ("image_id", "category_id", "score"), where)
    _check_whole(entry, ("image_id", "category_id"), where)
    if not _is_finite(entry["score"]):
        raise DataError(f"{where} has the score {entry['score']!r}, not a finite number.")
    if not _is_finite(entry.get("mask_score", 0)):
        raise DataError(f"{where} has the mask_score {entry['mask_score']!r}, not a finite number.")
    if not (_has(entry, "segmentation") or _has(entry, "bbox")):
        raise DataError(f"{where} has neither segmentation nor bbox.")
    if _has(entry, "bbox"):
        _check_box(entry["bbox"], where)


def _check_box(box: Any, where: str) -> None:
    if not (isinstance(box, Sequence) and len(box) == 4 and all(map(_is_finite, box))):
        raise DataError(f"{where} has the bbox {box!r}, not four finite numbers.")
    if min(box[2:]) < 0:
        raise DataError(f"{where} has the bbox {box!r}, whose width or height is negative.")


def _is_finite(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _parse_entries(
    entries: Sequence[tuple[str, Mapping[str, Any]]], size: tuple[int, int]
) -> Found:
    """Checked entries of one image of ``size`` (height, width), each with how to name it."""
    masks = [
        _compress(entry["segmentation"], size, where)
        for where, entry in entries
        if _has(entry, "segmentation")
    ]
    # Boxes come from the masks only if all entries have one, so the places agree.
    boxes = [
        entry["bbox"] if _has(entry, "bbox") else _box_of(masks[i])
        for i, (_, entry) in enumerate(entries)
    ]
    return Found(
        boxes=np.array(boxes, dtype=np.float64),
        scores=np.array([entry["score"] for _, entry in entries], dtype=np.float64),
        mask_scores=np.array(
            [entry.get("mask_score", entry["score"]) for _, entry in entries], dtype=np.float64
        ),
        category_ids=np.array([entry["category_id"] for _, entry in entries]),
        masks=masks,
        mask_areas=np.array([rle_api.area(mask) for mask in masks], dtype=np.float64),
    )


def _area(mask: Rle, where: str) -> float:
    """Pixels of a mask; to count them the library must read the runs, and so checks them."""
    try:
        return float(rle_api.area(mask))
    except _RLE_ERRORS as error:
        raise DataError(f"{where} has a mask that cannot be read: {_reason(error)}.") from error


def _compress(segmentation: Any, size: tuple[int, int], where: str) -> Rle:
    """Any of COCO's forms of a segmentation as one compressed mask of ``size`` (height, width)."""
    try:
        mask = to_rle(segmentation, *size)
    except _RLE_ERRORS as error:
        raise DataError(f"{where} has a mask that cannot be read: {_reason(error)}.") from error
    _area(mask, where)
    return mask


def _reason(error: Exception) -> str:
    """What the library says, without its full stop and its hints for C++ programmers."""
    return str(error).split("\n")[0].split(" (#define")[0].rstrip(".")


def _box_of(mask: Rle) -> list[float]:
    """X, y, width, height of the box around the mask, pixels; all zero if it is empty."""
    return [float(value) for value in rle_api.toBbox(mask)]
