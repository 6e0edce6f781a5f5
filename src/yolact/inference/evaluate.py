"""``evaluate``: COCO numbers of a loaded model on a data set, in one call."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Unpack

from yolact.config.detection import DetectionConfig, DetectionOptions
from yolact.data.coco import CocoInstances, keep_classes
from yolact.data.formats.read import load_split
from yolact.evaluation.coco import CocoEvaluator, Metrics
from yolact.evaluation.run import Collect, Sharing, fill_evaluator
from yolact.inference.predictor import Predictor


def evaluate(
    model: Predictor,
    data: str | os.PathLike[str],
    *,
    split: str = "val",
    batch_size: int = 4,
    **options: Unpack[DetectionOptions],
) -> Metrics:
    """COCO box and mask AP, the same numbers as ``yolact eval`` and the training log give.

    Args:
        model: From :func:`yolact.load`.
        data: Folder or file in any format of docs/formats.md.
        split: Which part of it.
        batch_size: Pictures at a time through the network.
        options: As when the model is called; only ``classes`` are measured where they are given.

    Raises:
        DataError: If the data cannot be used, or shares no class with the model.
        ImageError: If a picture cannot be decoded.
        UsageError: If an option is out of range, or the model knows no such class.
    """
    detection = model.detection(**options)
    instances = load_split(Path(data), split)
    return evaluate_model(model, detection, instances, batch_size=batch_size).compute()


def evaluate_model(
    model: Predictor,
    detection: DetectionConfig,
    instances: CocoInstances,
    *,
    batch_size: int,
    on_progress: Callable[[int], None] | None = None,
    collect: Collect | None = None,
    sharing: Sharing | None = None,
) -> CocoEvaluator:
    """Run a model over a data set already read: for Python, command and training alike.

    Args:
        model: What predicts.
        detection: How; only its ``labels`` are measured where it has any.
        instances: Pictures, and the truth if there is one.
        batch_size: Pictures at a time through the network.
        on_progress: As in :func:`fill_evaluator`.
        collect: As in :func:`fill_evaluator`.
        sharing: As in :func:`fill_evaluator`.

    Returns:
        Ready to ``compute`` its metrics, or for :func:`yolact.evaluation.analysis.analyse`.

    Raises:
        DataError: If the data has none of the model's classes, or none of those wanted.
        ImageError: If a picture cannot be decoded.
    """
    instances = only_wanted(instances, model.names, detection)
    return fill_evaluator(
        lambda pictures: model.detect(pictures, detection),
        model.names,
        instances,
        max_detections=detection.max_detections,
        batch_size=batch_size,
        on_progress=on_progress,
        collect=collect,
        sharing=sharing,
    )


def only_wanted(
    instances: CocoInstances, names: Sequence[str], detection: DetectionConfig
) -> CocoInstances:
    """The data with those classes alone that are looked for.

    Raises:
        DataError: If it has none of them.
    """
    if detection.labels is None:
        return instances
    return keep_classes(instances, {names[label] for label in detection.labels})
