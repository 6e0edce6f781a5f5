"""int8 with a promise: as many layers of a network as AP allows, measured step by step."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from yolact.artifacts.record import ExportRecord
from yolact.config.runtime import RuntimeName
from yolact.data.coco import CocoInstances
from yolact.data.formats.read import list_splits, load_split
from yolact.data.formats.splits import split_called
from yolact.data.images import read_image
from yolact.errors import DataError, UsageError, YolactError, installed_with
from yolact.export.onnx_file import raw_onnx
from yolact.export.openvino_file import from_onnx
from yolact.export.quantize import ladder, quantize
from yolact.inference.evaluate import evaluate_model
from yolact.inference.export import network_of
from yolact.inference.predictor import Predictor
from yolact.inference.timing.measure import measure_together
from yolact.inference.timing.timed_predictor import TimedPredictor
from yolact.runtimes.choose import open_graph

MAX_DROP = 0.5
"""Points of AP, of 100, that int8 may cost unless something else is said."""
CALIBRATION_PICTURES = 128
Target = Literal["onnx", "openvino"]

_TRAIN = "train"
_TIMED_PICTURES, _REPEATS = 3, 10


@dataclass(frozen=True)
class Pictures:
    """What a network is quantised with, and what it is measured on: never the same pictures."""

    calibration: tuple[Path, ...]
    calibration_source: Path
    measured: CocoInstances

    @property
    def from_one_split(self) -> bool:
        """Whether one split had to be divided between the two."""
        return self.calibration_source == self.measured.source


@dataclass(frozen=True)
class Ap:
    """Of masks and of boxes, in [0, 1]."""

    mask: float
    box: float

    def points_to(self, other: "Ap") -> float:
        """How many points, of 100, the other has less, of that which lost more."""
        return 100 * max(self.mask - other.mask, self.box - other.box)

    def __str__(self) -> str:
        """In points of 100, as people say it."""
        return f"mask AP {100 * self.mask:.2f}, box AP {100 * self.box:.2f}"


@dataclass(frozen=True)
class Trial:
    """One step: what stays in float32, and the AP with all else in int8."""

    kept: str
    """For people."""
    num_kept: int
    """Convolutions."""
    ap: Ap
    drop: float
    """Points, of 100, of mask AP or box AP, whichever lost more."""


@dataclass(frozen=True)
class Speed:
    """Of one way to run the network, one picture at a time, in turn with the others."""

    runtime: str
    """For people."""
    network_seconds: float
    """Median."""
    seconds: float
    """From the picture in memory to finished masks, median."""


@dataclass(frozen=True)
class Int8Report:
    """What was tried, and what came of it. The last trial is the one that was taken."""

    before: Ap
    """In float32."""
    trials: tuple[Trial, ...]
    max_drop: float
    """Points of AP, of 100."""
    speeds: tuple[Speed, ...]
    """As loaded, in float32 in the runtime of the file, and in int8 there."""
    num_calibration: int
    calibration_source: str
    num_measured: int
    measured_source: str
    from_one_split: bool
    """Whether both are of one split, of which what calibrated was then not measured."""

    def to_dict(self) -> dict[str, Any]:
        """All of it under the same names, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Quantized:
    """A network in int8."""

    graph: Any
    """The network alone, for any batch: an ``onnx.ModelProto`` or an ``openvino.Model``."""
    model: Predictor
    """The same at work. Its record says under ``provenance`` what the report says."""
    report: Int8Report


def choose_pictures(
    data: Path, split: str = "val", *, number: int = CALIBRATION_PICTURES, seed: int = 0
) -> Pictures:
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
    measured = load_split(data, split)
    chooser = random.Random(seed)
    if split_called(split) != _TRAIN and data.is_dir() and _TRAIN in list_splits(data):
        train = load_split(data, _TRAIN, needs_labels=False)
        paths = [record.path for record in train.records]
        return Pictures(
            tuple(chooser.sample(paths, min(number, len(paths)))), train.source, measured
        )
    records = chooser.sample(measured.records, len(measured.records))
    if len(records) < 2:
        raise DataError(f"{measured.source} has one picture: int8 needs another to measure on.")
    count = min(number, len(records) // 2)
    left = {record.image_id for record in records[count:]}
    rest = _only(measured, left)
    return Pictures(tuple(record.path for record in records[:count]), measured.source, rest)


def quantize_model(
    model: Predictor,
    to: Target,
    pictures: Pictures,
    *,
    max_drop: float = MAX_DROP,
    say: Callable[[str], object] = lambda _: None,
) -> Quantized:
    """A model whose network computes in int8, all but the few convolutions that AP cannot do without.

    What :func:`yolact.export.quantize.ladder` would keep in float32 is tried from nothing on, and the
    first step is taken that loses no more than it may. Pre- and post-processing stay as they are, and
    so does what judges masks (YOLACT++).

    Args:
        model: Run by torch in float32. Its AP and speed are those before.
        to: Which file is to be made of it, and so which runtime it is measured in.
        pictures: From :func:`choose_pictures`.
        max_drop: Points of mask AP and of box AP, of 100, that may be lost.
        say: Told what is done, step by step.

    Raises:
        DataError: If there is no AP to lose, as the data shows no object of the model's classes.
        UsageError: If a library is missing, or ``max_drop`` is no number, or the model is run otherwise.
        YolactError: If too much is lost at every step.
    """
    if not math.isfinite(max_drop):
        raise UsageError(f"a drop of AP is a number of points, not {max_drop}.")
    network = network_of(model)
    with installed_with("int8"):
        graph: Any = raw_onnx(network, model.metadata.model.image_size)
        if to == "openvino":
            graph = from_onnx(graph)
    scorer = None if network.mask_scorer is None else network.mask_scorer.state_dict()
    record = ExportRecord(model.metadata, "raw", mask_scorer=scorer)

    def read(path: Path) -> NDArray[np.float32]:
        images: NDArray[np.float32] = model.preprocessor([read_image(path)]).numpy()
        return images

    say(f"measuring float32 on {len(pictures.measured.records)} pictures")
    before = _ap(model, pictures.measured)
    say(f"float32: {before}")
    trials: list[Trial] = []
    for rung in ladder(graph):
        say(f"quantising on {len(pictures.calibration)} pictures, in float32: {rung.kept}")
        int8 = quantize(graph, pictures.calibration, read, rung.convolutions)
        fast = _open(int8, replace(record, precision="int8"))
        found = _ap(fast, pictures.measured)
        trials.append(Trial(rung.kept, len(rung.convolutions), found, before.points_to(found)))
        say(f"int8: {found}")
        if trials[-1].drop <= max_drop:
            break
    else:
        best = min(trials, key=lambda trial: trial.drop)
        raise YolactError(
            f"int8 loses {best.drop:.2f} points of AP at the least, with {best.kept} in float32, and "
            f"may lose {max_drop:g}: nothing is written."
        )
    report = Int8Report(
        before=before,
        trials=tuple(trials),
        max_drop=max_drop,
        speeds=_speeds([model, _open(graph, record), fast], pictures.measured),
        num_calibration=len(pictures.calibration),
        calibration_source=str(pictures.calibration_source),
        num_measured=len(pictures.measured.records),
        measured_source=str(pictures.measured.source),
        from_one_split=pictures.from_one_split,
    )
    provenance = model.metadata.provenance | {"int8": report.to_dict()}
    metadata = replace(model.metadata, provenance=provenance)
    return Quantized(int8, Predictor(fast.runtime, metadata), report)


def _open(graph: Any, record: ExportRecord) -> Predictor:
    """A graph in the runtime that its kind belongs to, on the CPU."""
    is_openvino = hasattr(graph, "reshape")
    name: RuntimeName = "openvino" if is_openvino else "onnxruntime"
    runnable = graph.clone() if is_openvino else graph  # a runtime fixes the shape of what it gets
    return Predictor(open_graph(name, runnable, record, torch.device("cpu")), record.metadata)


def _ap(model: Predictor, instances: CocoInstances) -> Ap:
    metrics = evaluate_model(model, model.detection(), instances, batch_size=1).compute()
    if metrics.mask.ap is None or metrics.box.ap is None:
        raise DataError(
            f"{instances.source} shows nothing that the model knows, so there is no AP."
        )
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
