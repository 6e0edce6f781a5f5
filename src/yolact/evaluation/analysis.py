"""Where AP comes from: precision at each recall, what is taken for what, and the errors picture by picture.

The rule by which a picture's detections above a score are judged, each by the IoU of its mask:

1. Best score first, each takes the object, of whatever class, that it overlaps most of those still free,
   if their IoU is high enough. Between equal IoUs one of its own class goes first.
2. Those left without an object are excused where a crowd of their class covers as much of them as the
   IoU asks for, as COCO does, and are doubles where an object that is taken overlaps them that much.
3. The rest, best score first again, take the free object of their own class that they overlap most, if only
   by an IoU of 0.1: these are badly cut. Failing that, what overlaps a taken object of its own class that
   much is a double, too, and everything else is invented. Objects still free are missed.

One difference to AP: there a detection never takes an object of another class.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from faster_coco_eval.core import mask as rle_api
from numpy.typing import NDArray

from yolact.errors import UsageError
from yolact.evaluation.coco import CocoEvaluator, Found

ErrorKind = Literal["missed", "invented", "badly cut", "wrong class", "double"]
ERROR_KINDS: tuple[ErrorKind, ...] = ("missed", "wrong class", "badly cut", "invented", "double")

NOTHING_THERE, NOTHING_FOUND = "nothing there", "nothing found"
"""The last row and the last column of a confusion matrix."""
ALL_CLASSES = "all"
"""The name of the mean over the classes."""

_TOUCHES = 0.1  # IoU from which on a detection is a bad try at an object, rather than about nothing


@dataclass(frozen=True)
class ImageError:
    """One thing that went wrong in a picture."""

    kind: ErrorKind
    """``missed``: an object that nothing covers. ``invented``: a detection that covers no object.
    ``badly cut``: right class, but a mask IoU too low to count. ``wrong class``: right place.
    ``double``: a detection of an object that a better one has found."""
    truth: int | None
    """Place of the object among the image's annotations; None for what was invented."""
    found: int | None
    """Place of the detection among the image's; None for what was missed."""
    iou: float
    """Mask IoU of the two, 0 where one is missing."""


@dataclass(frozen=True)
class Analysis:
    """What lies behind a data set's AP."""

    class_names: tuple[str, ...]
    """C of them, in the order of the category ids."""
    precision: dict[str, dict[str, NDArray[np.float64]]]
    """By shape (``mask``, ``box``) and IoU threshold (``"0.50"``, ``"0.75"``): (C, 101) precision at
    recall 0, 0.01 … 1; -1 in the rows of classes without objects. The mean of a row is that class's AP
    at the threshold."""
    confusion: NDArray[np.int64]
    """(C + 1, C + 1): rows are true classes, columns found ones, counted by mask IoU; see
    :func:`confusion_names`. What is badly cut counts in both, as an object
    not found and a detection of nothing; doubles and what a crowd excuses do not count at all. So each
    row but the last adds up to the objects of its class."""
    score: float
    """Only detections above it are in ``confusion`` and ``errors``."""
    iou: float
    """Mask IoU from which on an object counts as found there."""
    errors: dict[int, tuple[ImageError, ...]]
    """By image id; images without errors are left out."""


def analyse(evaluator: CocoEvaluator, *, score: float = 0.3, iou: float = 0.5) -> Analysis:
    """Say where the AP of what an evaluator holds comes from, without matching for AP once more.

    Args:
        evaluator: Filled. Objects and detections need masks.
        score: Only detections above it can be errors or finds; those that pictures would show.
        iou: Mask IoU in (0, 1] from which on an object counts as found.

    Raises:
        UsageError: If ``iou`` is out of range.
    """
    if not 0 < iou <= 1:
        raise UsageError(f"iou must be above 0 and at most 1, not {iou}.")
    place = {category_id: k for k, category_id in enumerate(evaluator.names)}
    nothing = len(place)
    confusion = np.zeros((nothing + 1, nothing + 1), dtype=np.int64)
    errors: dict[int, tuple[ImageError, ...]] = {}
    for image_id, annotations in evaluator.annotations.items():
        found = evaluator.found.get(image_id)
        right, wrong = _judge(annotations, found, score, iou)
        for truth in right:
            k = place[annotations[truth]["category_id"]]
            confusion[k, k] += 1
        for error in wrong:
            if error.kind == "double":
                continue
            row = column = nothing
            if error.truth is not None:
                row = place[annotations[error.truth]["category_id"]]
            if error.found is not None:
                assert found is not None
                column = place[int(found.category_ids[error.found])]
            if error.kind == "badly cut":
                confusion[row, nothing] += 1
                confusion[nothing, column] += 1
            else:
                confusion[row, column] += 1
        if wrong:
            errors[image_id] = tuple(wrong)
    tables = {shape: evaluator.precision(shape) for shape in _SHAPES}
    return Analysis(
        class_names=tuple(evaluator.names.values()),
        precision={shape: {"0.50": table[0], "0.75": table[5]} for shape, table in tables.items()},
        confusion=confusion,
        score=score,
        iou=iou,
        errors=errors,
    )


def confusion_names(class_names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the rows and the columns of a confusion matrix stand for."""
    return (*class_names, NOTHING_THERE), (*class_names, NOTHING_FOUND)


def curves_by_class(
    class_names: Sequence[str], precision: NDArray[np.float64]
) -> dict[str, NDArray[np.float64] | None]:
    """Precision at recall 0, 0.01 … 1 of each class by its name, and first of all their mean.

    The mean is over classes with objects. It is called :data:`ALL_CLASSES`, and hides a class of that name.

    Args:
        class_names: C of them.
        precision: (C, 101), one of the tables of :attr:`Analysis.precision`.

    Returns:
        Curves (101,); None for classes without objects, and as the mean of none.
    """
    measured = precision[:, 0] >= 0
    mean = precision[measured].mean(axis=0) if measured.any() else None
    rows = zip(class_names, precision, measured, strict=True)
    curves = {name: row if has_objects else None for name, row, has_objects in rows}
    return {ALL_CLASSES: mean} | curves | {ALL_CLASSES: mean}  # first, whatever classes are called


_SHAPES: tuple[Literal["mask", "box"], ...] = ("mask", "box")


def _judge(
    annotations: Sequence[Mapping[str, Any]], found: Found | None, score: float, iou: float
) -> tuple[list[int], list[ImageError]]:
    """Objects that were found as what they are, and what went wrong, by the rule above."""
    objects = [i for i, annotation in enumerate(annotations) if not annotation["iscrowd"]]
    classes = np.array([annotation["category_id"] for annotation in annotations], dtype=np.int64)
    is_object = np.isin(np.arange(len(annotations)), objects)
    order: list[int] = []
    if found is not None:
        best_first = np.argsort(-found.scores, kind="stable")
        order = best_first[found.scores[best_first] > score].tolist()
    overlaps = _overlaps(annotations, found, order)
    free = is_object.copy()
    right: list[int] = []
    errors: list[ImageError] = []
    left: list[tuple[int, NDArray[np.float64], NDArray[np.bool_]]] = []
    for d, overlap in zip(order, overlaps, strict=True):
        assert found is not None
        same = classes == found.category_ids[d]
        enough = overlap >= iou
        truth = _most(overlap, free & enough, same)
        if truth is not None:
            free[truth] = False
            if same[truth]:
                right.append(truth)
            else:
                errors.append(ImageError("wrong class", truth, d, float(overlap[truth])))
        elif not (enough & same & ~is_object).any():
            left.append((d, overlap, same))
    taken = is_object & ~free
    for d, overlap, same in left:
        if (truth := _most(overlap, taken & (overlap >= iou), same)) is not None:
            errors.append(ImageError("double", truth, d, float(overlap[truth])))
            continue
        near = is_object & same & (overlap >= _TOUCHES)
        if (truth := _most(overlap, near & free, same)) is not None:
            free[truth] = False
            errors.append(ImageError("badly cut", truth, d, float(overlap[truth])))
        elif (truth := _most(overlap, near, same)) is not None:
            errors.append(ImageError("double", truth, d, float(overlap[truth])))
        else:
            errors.append(ImageError("invented", None, d, 0.0))
    errors += [ImageError("missed", truth, None, 0.0) for truth in np.flatnonzero(free).tolist()]
    return right, sorted(errors, key=lambda error: ERROR_KINDS.index(error.kind))


def _overlaps(
    annotations: Sequence[Mapping[str, Any]], found: Found | None, chosen: Sequence[int]
) -> NDArray[np.float64]:
    """(chosen, annotations) mask IoU; with a crowd the share of the detection inside it, as in COCO."""
    if found is None or not chosen or not annotations:
        return np.zeros((len(chosen), len(annotations)))
    overlaps = rle_api.iou(
        [found.masks[d] for d in chosen],
        [annotation["segmentation"] for annotation in annotations],
        [annotation["iscrowd"] for annotation in annotations],
    )
    return np.asarray(overlaps, dtype=np.float64)


def _most(
    overlap: NDArray[np.float64], allowed: NDArray[np.bool_], same: NDArray[np.bool_]
) -> int | None:
    """The allowed object of largest overlap; of several one of the same class, then the first."""
    candidates = np.flatnonzero(allowed)
    if not len(candidates):
        return None
    ranked = candidates[np.lexsort((candidates, ~same[candidates], -overlap[candidates]))]
    return int(ranked[0])
