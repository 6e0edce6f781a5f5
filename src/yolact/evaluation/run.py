"""Run a model over a data set, to be scored. Anything that maps pictures to results fits."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolact.data.coco import CocoInstances, ImageRecord
from yolact.data.images import read_image
from yolact.errors import DataError
from yolact.evaluation.coco import CocoEvaluator
from yolact.results import Result

Predict = Callable[[Sequence[NDArray[np.uint8]]], Sequence[Result]]
Collect = Callable[[list[dict[str, Any]]], object]


@dataclass(frozen=True)
class Sharing:
    """How several processes measure one model together; all get the numbers of all pictures."""

    rank: int
    count: int
    gather: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    """The tuples of all processes, joined."""


def fill_evaluator(
    predict: Predict,
    class_names: Sequence[str],
    instances: CocoInstances,
    *,
    max_detections: int,
    batch_size: int,
    on_progress: Callable[[int], None] | None = None,
    collect: Collect | None = None,
    sharing: Sharing | None = None,
) -> CocoEvaluator:
    """What ``predict`` finds on every picture of ``instances``, beside what there is to find.

    Args:
        predict: RGB uint8 pictures -> one result each, scores not yet filtered for display.
        class_names: The model's classes by label; matched with the data's by name.
        instances: Pictures and truth. Pictures without objects count; without any truth there is
            nothing to measure, and every number is None.
        max_detections: Per image.
        batch_size: Pictures per call of ``predict``.
        on_progress: Called with the number of pictures done.
        collect: Called with the COCO results entries of each picture.
        sharing: This process predicts only its share of the pictures.

    Returns:
        With the detections of all pictures, in every process.

    Raises:
        DataError: If model and data have no class in common.
        ImageError: If a picture cannot be decoded.
    """
    category_ids = match_categories(class_names, instances)
    evaluator = CocoEvaluator(instances.ground_truth, max_detections=max_detections)
    records_here = instances.records
    if sharing is not None:
        records_here = records_here[sharing.rank :: sharing.count]
    done = 0
    for records, results in _predict_all(predict, records_here, batch_size):
        for record, result in zip(records, results, strict=True):
            ids = category_ids[result.labels]
            result = result[ids >= 0]  # what the data cannot judge does not count against it
            ids = ids[ids >= 0]
            if instances.has_labels:  # else the evaluator would only fill the memory
                evaluator.update(
                    record.image_id,
                    result.boxes,
                    result.scores,
                    ids,
                    result.masks.rle(),
                    result.mask_scores,
                )
            if collect is not None:
                collect(result.to_coco(record.image_id, category_ids.tolist()))
        done += len(records)
        if on_progress is not None:
            on_progress(done)
    if sharing is not None:
        evaluator.pool(sharing.gather)
    return evaluator


def match_categories(class_names: Sequence[str], instances: CocoInstances) -> NDArray[np.int64]:
    """The data's category id of every label of the model, by name; -1 where the data lacks it.

    Raises:
        DataError: If no name is shared.
    """
    if tuple(class_names) == instances.class_names:
        return np.array(instances.category_ids, dtype=np.int64)  # names may even repeat
    id_of = dict(zip(instances.class_names, instances.category_ids, strict=True))
    ids = np.array([id_of.get(name, -1) for name in class_names], dtype=np.int64)
    if (ids < 0).all():
        raise DataError(
            f"the model knows {_some(class_names)}, {instances.source} has "
            f"{_some(instances.class_names)}: not one class is the same."
        )
    return ids


def _predict_all(
    predict: Predict, records: Sequence[ImageRecord], batch_size: int
) -> Iterator[tuple[Sequence[ImageRecord], Sequence[Result]]]:
    for start in range(0, len(records), batch_size):
        part = records[start : start + batch_size]
        yield part, predict([read_image(record.path) for record in part])


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
