"""``evaluate``: COCO numbers of a loaded model on a data set, in one call."""

import os
from pathlib import Path

from yolact.data.coco import find_split, load_coco
from yolact.evaluation.coco import Metrics
from yolact.evaluation.run import evaluate_predictions
from yolact.inference.predictor import Predictor


def evaluate(
    model: Predictor,
    data: str | os.PathLike[str],
    *,
    split: str = "val",
    max_detections: int | None = None,
    batch_size: int = 4,
) -> Metrics:
    """COCO box and mask AP, the same numbers as ``yolact eval`` and the training log give.

    Args:
        model: From :func:`yolact.load`.
        data: Folder in COCO format.
        split: Which part of it.
        max_detections: Per picture; the model's own limit by default.
        batch_size: Pictures at a time through the network.

    Raises:
        DataError: If the data cannot be used, or shares no class with the model.
        ImageError: If a picture cannot be decoded.
    """
    detection = model.detection(max_detections)
    return evaluate_predictions(
        lambda pictures: model.detect(pictures, detection),
        model.names,
        load_coco(*find_split(Path(data), split)),
        max_detections=detection.max_detections,
        batch_size=batch_size,
    )
