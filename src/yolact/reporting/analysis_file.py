"""``analysis.json`` of a run directory: where the AP of its best weights comes from, with the worst pictures.

::

    {"step": 120, "score": 0.3, "iou": 0.5, "classes": [names],
     "precision": {"mask" | "box": {"0.50" | "0.75": {class name or "all": [101 numbers] or null}}},
     "confusion": [[(C + 1) x (C + 1) counts: rows truth, columns found, last is nothing]],
     "counts": {kind of error: number},
     "counts_by_size": {"small" | "medium" | "large": {"objects", "found", "missed", "wrong class", "badly cut"}},
     "worst": [{"name", "image_id", "reason", "counts", "truth": JPEG URI, "found": JPEG URI}]}

What the parts mean is said in :class:`yolact.evaluation.analysis.Analysis`. Precision has five decimals.
A class named ``all`` is hidden by the mean over the classes.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolact.artifacts.run_directory import ANALYSIS
from yolact.data.coco import SIZES, CocoInstances, ImageRecord, size_of
from yolact.data.images import read_image
from yolact.evaluation.analysis import ERROR_KINDS, Analysis, ImageError, curves_by_class
from yolact.evaluation.coco import CocoEvaluator, Found
from yolact.files import write_text
from yolact.ops.rle import rle_to_crop
from yolact.reporting.scene import picture_uri
from yolact.visualization.contact_sheet import fitted
from yolact.visualization.draw import draw_instances

_MOST_PICTURES = 12
_SIDE = 480  # pixels of the longer side of a picture at most
_QUALITY = 75  # with it the pictures of photographs stay below some 1.2 MB together

Annotation = Mapping[str, Any]


def write_analysis(
    folder: Path,
    step: int,
    analysis: Analysis,
    evaluator: CocoEvaluator,
    instances: CocoInstances,
) -> Path:
    """Write ``analysis.json``, whole.

    The worst pictures come first: those with the largest number of errors times the share of what
    is in the picture, objects and superfluous detections, that is wrong. So neither a full picture
    with a few errors nor a single missed object is at the top. Only these pictures are read.

    Args:
        folder: The run directory.
        step: That the weights come from.
        analysis: Of ``evaluator``.
        evaluator: Its masks are drawn.
        instances: What the evaluator has judged by.

    Returns:
        The file.

    Raises:
        ImageError: If a picture cannot be decoded.
    """
    annotations = evaluator.annotations
    records = {record.image_id: record for record in instances.records}
    document = {
        "step": step,
        "score": analysis.score,
        "iou": analysis.iou,
        "classes": list(analysis.class_names),
        "precision": {
            shape: {iou: _curves(analysis, table) for iou, table in tables.items()}
            for shape, tables in analysis.precision.items()
        },
        "confusion": analysis.confusion.tolist(),
        "counts": _counts(error for errors in analysis.errors.values() for error in errors),
        "counts_by_size": _counts_by_size(annotations, analysis.errors),
        "worst": [
            _picture(
                records[image_id],
                analysis.errors[image_id],
                annotations[image_id],
                evaluator.found.get(image_id),
                analysis.score,
                evaluator.names,
            )
            for image_id in _worst(annotations, analysis.errors)
        ],
    }
    path = folder / ANALYSIS
    write_text(path, json.dumps(document, ensure_ascii=False, separators=(",", ":")))
    return path


def _curves(analysis: Analysis, table: NDArray[np.float64]) -> dict[str, list[float] | None]:
    return {
        name: None if curve is None else curve.round(5).tolist()
        for name, curve in curves_by_class(analysis.class_names, table).items()
    }


def _counts(errors: Any) -> dict[str, int]:
    number = Counter(error.kind for error in errors)
    return {kind: number[kind] for kind in ERROR_KINDS}


def _counts_by_size(
    annotations: Mapping[int, Sequence[Annotation]],
    errors: Mapping[int, Sequence[ImageError]],
) -> dict[str, dict[str, int]]:
    """What became of the objects; each is found, missed, badly cut or of the wrong class."""
    fates = ("objects", "found", "missed", "wrong class", "badly cut")
    counts = {size: dict.fromkeys(fates, 0) for size in SIZES}
    for image_id, objects in annotations.items():
        of_object = {e.truth: e.kind for e in errors.get(image_id, ()) if e.kind in fates}
        for place, annotation in enumerate(objects):
            if not annotation["iscrowd"]:
                of_size = counts[size_of(annotation["area"])]
                of_size["objects"] += 1
                of_size[of_object.get(place, "found")] += 1
    return counts


def _worst(
    annotations: Mapping[int, Sequence[Annotation]],
    errors: Mapping[int, Sequence[ImageError]],
) -> list[int]:
    """Ids of the pictures to show, worst first; of equal ones the lower id."""

    def badness(image_id: int) -> float:
        here = errors[image_id]
        objects = sum(not annotation["iscrowd"] for annotation in annotations[image_id])
        superfluous = sum(error.kind in ("invented", "double") for error in here)
        return len(here) ** 2 / (objects + superfluous)

    return sorted(errors, key=lambda image_id: (-badness(image_id), image_id))[:_MOST_PICTURES]


def _picture(
    record: ImageRecord,
    errors: Sequence[ImageError],
    annotations: Sequence[Annotation],
    found: Found | None,
    score: float,
    names: Mapping[int, str],
) -> dict[str, Any]:
    picture = read_image(record.path)
    objects = [annotation for annotation in annotations if not annotation["iscrowd"]]
    truth = _drawn(
        picture,
        [annotation["segmentation"] for annotation in objects],
        [annotation["bbox"] for annotation in objects],
        [annotation["category_id"] for annotation in objects],
        None,
        names,
    )
    shown = np.flatnonzero(found.scores > score) if found is not None else np.zeros(0, np.int64)
    detected = picture
    if found is not None and len(shown):
        detected = _drawn(
            picture,
            [found.masks[d] for d in shown.tolist()],
            found.boxes[shown],
            found.category_ids[shown].tolist(),
            found.scores[shown].astype(np.float32),
            names,
        )
    return {
        "name": record.path.name,
        "image_id": record.image_id,
        "reason": _reason(errors, annotations, found, names),
        "counts": _counts(errors),
        "truth": picture_uri(_small(truth), quality=_QUALITY),
        "found": picture_uri(_small(detected), quality=_QUALITY),
    }


def _drawn(
    picture: NDArray[np.uint8],
    masks: Sequence[Mapping[str, Any]],
    boxes: Any,
    category_ids: Sequence[int],
    scores: NDArray[np.float32] | None,
    names: Mapping[int, str],
) -> NDArray[np.uint8]:
    """``boxes`` are x, y, width, height; a class has the colour of its place, as everywhere."""
    place = {category_id: label for label, category_id in enumerate(names)}
    corners = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    height, width = picture.shape[:2]
    return draw_instances(
        picture,
        corners.clip(0, (width, height, width, height)).astype(np.float32),
        np.array([place[category_id] for category_id in category_ids], dtype=np.int64),
        scores,
        list(names.values()),
        [rle_to_crop(mask) for mask in masks],
    )


def _small(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return fitted(picture, (_SIDE, _SIDE)) if max(picture.shape) > _SIDE else picture


def _reason(
    errors: Sequence[ImageError],
    annotations: Sequence[Annotation],
    found: Found | None,
    names: Mapping[int, str],
) -> str:
    """One sentence: how often each kind, and of the first or surest of it what exactly."""
    of_kind: dict[str, list[ImageError]] = {}
    for error in errors:
        of_kind.setdefault(error.kind, []).append(error)

    def true_name(error: ImageError) -> str:
        assert error.truth is not None
        return names[annotations[error.truth]["category_id"]]

    def found_name(error: ImageError) -> str:
        assert error.found is not None
        assert found is not None
        return names[int(found.category_ids[error.found])]

    parts = []
    if missed := of_kind.get("missed"):
        objects = sum(not annotation["iscrowd"] for annotation in annotations)
        parts.append(f"{len(missed)} of {_times(objects, 'object')} missed")
        sizes = {
            size_of(annotations[error.truth]["area"]) for error in missed if error.truth is not None
        }
        size = sizes.pop() if len(sizes) == 1 and "medium" not in sizes else ""
        if len(missed) == 1:
            parts[0] += ", " + _a(f"{size} {true_name(missed[0])}".lstrip())
        elif size:
            parts[0] += f", {'both' if len(missed) == 2 else 'all'} {size}"
    if wrong := of_kind.get("wrong class"):
        first = f"{_a(true_name(wrong[0]))} taken for {_a(found_name(wrong[0]))}"
        parts.append(
            first if len(wrong) == 1 else f"{len(wrong)} of the wrong class, such as {first}"
        )
    if badly := of_kind.get("badly cut"):
        first = f"{_a(true_name(badly[0]))} badly cut (IoU {badly[0].iou:.2f})"
        parts.append(first if len(badly) == 1 else f"{len(badly)} objects badly cut")
    if invented := of_kind.get("invented"):
        assert found is not None
        surest = _a(found_name(invented[0]))
        score = f"with score {found.scores[invented[0].found]:.2f}"
        parts.append(
            f"{surest} invented {score}"
            if len(invented) == 1
            else f"{len(invented)} objects invented, the surest {surest} {score}"
        )
    if double := of_kind.get("double"):
        parts.append(
            f"{_a(true_name(double[0]))} found twice"
            if len(double) == 1
            else f"{len(double)} superfluous detections of objects already found"
        )
    return "; ".join(parts) + "."


def _times(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _a(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"
