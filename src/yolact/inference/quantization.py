"""int8 with a promise: as many layers of a network as AP allows, measured step by step."""

import os
import random
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from yolact.artifacts.record import ExportRecord
from yolact.config.runtime import RuntimeName
from yolact.data.coco import CocoInstances
from yolact.data.formats.read import list_splits, load_split
from yolact.data.formats.splits import split_called
from yolact.data.images import read_image
from yolact.errors import DataError, ExportError
from yolact.evaluation.coco import Metrics
from yolact.export.int8_report import Ap, Int8Report, Speed, Trial
from yolact.export.quantize import ladder, quantize
from yolact.inference.evaluate import evaluate_model
from yolact.inference.predictor import Predictor
from yolact.inference.timing.measure import measure_together
from yolact.inference.timing.timed_predictor import TimedPredictor
from yolact.runtimes.choose import open_graph

CALIBRATION_PICTURES = 128
_TRAIN = "train"
_TIMED_PICTURES, _REPEATS = 3, 10


@dataclass(frozen=True)
class CalibrationPictures:
    """What a network is quantised with, and what it is measured on: never the same pictures."""

    calibration: tuple[Path, ...]
    calibration_source: Path
    measured: CocoInstances
    from_one_split: bool
    """Whether one split had to be divided between the two."""


def choose_pictures(
    data: str | os.PathLike[str],
    split: str = "val",
    *,
    number: int = CALIBRATION_PICTURES,
    seed: int = 0,
) -> CalibrationPictures:
    """Pictures to quantise with, of the train split, and ``split`` to measure on.

    Where there is no train split, or it is the one to measure on, up to half of the split's pictures
    are for calibration and the rest is measured.

    Args:
        data: Folder or file in any format of docs/formats.md.
        split: What is measured.
        number: Of pictures for calibration at most.
        seed: Decides which.

    Raises:
        DataError: If the data cannot be used, or one split of a single picture is all there is.
    """
    data = Path(data)
    measured = load_split(data, split)
    chooser = random.Random(seed)
    if split_called(split) != _TRAIN and data.is_dir() and _TRAIN in list_splits(data):
        train = load_split(data, _TRAIN, needs_labels=False)
        paths = [record.path for record in train.records]
        return CalibrationPictures(
            tuple(chooser.sample(paths, min(number, len(paths)))), train.source, measured, False
        )
    records = chooser.sample(measured.records, len(measured.records))
    if len(records) < 2:
        raise DataError(f"{measured.source} has one picture: int8 needs another to measure on.")
    count = min(number, len(records) // 2)
    left = {record.image_id for record in records[count:]}
    rest = _only(measured, left)
    return CalibrationPictures(
        tuple(record.path for record in records[:count]), measured.source, rest, True
    )


def quantize_model(
    model: Predictor,
    graph: Any,
    record: ExportRecord,
    pictures: CalibrationPictures,
    measure: Callable[[Any], Metrics],
    *,
    max_drop: float,
    say: Callable[[str], object],
) -> tuple[Any, Int8Report]:
    """A network in int8, all but the few convolutions that AP cannot do without.

    What :func:`yolact.export.quantize.ladder` would keep in float32 is tried from nothing on, and the
    first step is taken that loses no more than it may.

    Args:
        model: The original. Its AP and speed are those before.
        graph: Its network alone, an ``onnx.ModelProto`` or an ``openvino.Model``, for any batch. It
            stays as it is.
        record: What a raw file of ``graph`` would say.
        pictures: From :func:`choose_pictures`.
        measure: Gives the COCO numbers of the finished file, on ``pictures.measured``, when its network
            is this one.
        max_drop: Points of mask AP and of box AP, of 100, that may be lost.
        say: Told what is done, step by step.

    Returns:
        The quantised network, of the same kind as ``graph``, and what was found on the way.

    Raises:
        DataError: If there is no AP to lose, as the data shows no object of the model's classes.
        ExportError: If too much is lost at every step.
        UsageError: If NNCF is missing.
    """
    detection, truth = record.metadata.detection, pictures.measured

    def read(path: Path) -> NDArray[np.float32]:
        images: NDArray[np.float32] = model.preprocessor([read_image(path)]).cpu().numpy()
        return images

    say(f"measuring float32 on {len(truth.records)} pictures")
    before = _ap(evaluate_model(model, detection, truth, batch_size=1).compute(), truth.source)
    say(f"float32: {before}")
    trials: list[Trial] = []
    for rung in ladder(graph):
        say(f"quantising on {len(pictures.calibration)} pictures; in float32 stays {rung.kept}")
        int8 = quantize(graph, pictures.calibration, read, rung.convolutions)
        found = _ap(measure(int8), truth.source)
        trials.append(Trial(rung.kept, len(rung.convolutions), found, before.points_to(found)))
        say(f"int8: {found}")
        if trials[-1].drop <= max_drop:
            break
    else:
        best = min(trials, key=lambda trial: trial.drop)
        raise ExportError(
            f"int8 costs {best.drop:.2f} points of AP at the least, with {best.kept} in float32, and may "
            f"cost {max_drop:g}: nothing is written."
        )
    fast = _open(int8, replace(record, precision="int8"))
    report = Int8Report(
        before=before,
        trials=tuple(trials),
        max_drop=max_drop,
        speeds=_speeds([model, _open(graph, record), fast], truth),
        num_calibration=len(pictures.calibration),
        calibration_source=str(pictures.calibration_source),
        num_measured=len(truth.records),
        measured_source=str(truth.source),
        from_one_split=pictures.from_one_split,
    )
    return int8, report


def _open(graph: Any, record: ExportRecord) -> Predictor:
    """A graph in the runtime that files of its kind belong to, on the CPU."""
    name: RuntimeName = "openvino" if hasattr(graph, "reshape") else "onnxruntime"
    graph = deepcopy(graph)  # a runtime fixes the shape of what it gets
    return Predictor(open_graph(name, graph, record, torch.device("cpu")), record.metadata)


def _ap(metrics: Metrics, source: Path) -> Ap:
    if metrics.mask.ap is None or metrics.box.ap is None:
        raise DataError(f"{source} shows nothing that the model knows, so there is no AP.")
    return Ap(metrics.mask.ap, metrics.box.ap)


def _speeds(models: Sequence[Predictor], instances: CocoInstances) -> tuple[Speed, ...]:
    timelines = measure_together(
        [TimedPredictor(model, model.runtime.description) for model in models],
        [read_image(record.path) for record in instances.records[:_TIMED_PICTURES]],
        repeats=_REPEATS,
    )
    return tuple(Speed(t.model, t.network_seconds, t.seconds) for t in timelines)


def _only(instances: CocoInstances, image_ids: set[int]) -> CocoInstances:
    """The same data with these pictures alone."""
    truth = instances.ground_truth
    return replace(
        instances,
        records=tuple(r for r in instances.records if r.image_id in image_ids),
        ground_truth=truth
        | {
            "images": [image for image in truth["images"] if image["id"] in image_ids],
            "annotations": [a for a in truth["annotations"] if a["image_id"] in image_ids],
        },
    )
