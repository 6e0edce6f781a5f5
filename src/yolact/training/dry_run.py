"""``--dry-run``: everything once, in a temporary folder, and what a real run would need."""

import math
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import lightning
import torch

from yolact.config.training import TrainingConfig
from yolact.data.coco import CocoInstances
from yolact.inference.evaluate import evaluate_model
from yolact.inference.load import load
from yolact.training.loader import ShuffledBatches
from yolact.training.prepare import Prepared, prepare
from yolact.training.processes import Processes, gathered, run_together
from yolact.training.run import fit
from yolact.training.schedule import Schedule
from yolact.training.trackers.following import Trackers, tracker_names

_STEPS = 5
_PICTURES = 16


@dataclass(frozen=True)
class Forecast:
    """What a run needs, by the measure of a few steps."""

    batch_size: int
    """Images per optimizer step."""
    steps: int
    """Optimizer steps of the whole run."""
    seconds_per_step: float
    images_per_second: float
    validation_seconds: float
    """Of one validation on all pictures of the val split."""
    validations: int
    total_seconds: float
    memory_mib: int
    """Main memory of all processes of this machine, at most: what several share counts for each."""
    gpu_memory_mib: int | None
    """Of the GPU that needs most; None without one."""
    disk_mib: int
    """Of the run directory."""

    def to_dict(self) -> dict[str, Any]:
        """The same under the same names, ready for JSON."""
        return asdict(self)


def dry_run(
    data: str | os.PathLike[str],
    *,
    device: str = "auto",
    devices: int | None = None,
    nodes: int | None = None,
    **arguments: Any,
) -> Forecast:
    """Do everything once that a training does, and leave nothing behind.

    The data is read and checked, a few steps are made with the settings of the run, a few pictures
    are validated, checkpoint and artifact are written and the artifact is loaded again, all in a
    temporary folder. The network is also exported to ONNX, if that is installed.

    Args:
        data: As of :func:`yolact.training.run.train`.
        device: Likewise.
        devices: Likewise.
        nodes: Likewise.
        arguments: Likewise, every other one.

    Raises:
        YolactError: As the training would.
    """
    work = partial(_dry_run, data=data, **arguments)
    return run_together(work, device=device, devices=devices, nodes=nodes)


def _dry_run(
    processes: Processes,
    device: torch.device,
    *,
    tracker: str | Sequence[str] | None = None,
    **arguments: Any,
) -> Forecast:
    Trackers(tracker_names(tracker, None))  # they must be installed; nothing is sent to them
    prepared = prepare(processes, device, **arguments)
    with tempfile.TemporaryDirectory(prefix="yolact-dry-run-") as folder:
        clock = _Clock()
        run = fit(_shortened(prepared, Path(folder)), processes, device, observers=[clock])
        if run.interrupted:
            raise KeyboardInterrupt
        seconds = 0.0
        if processes.is_first:
            seconds = _seconds_per_picture(prepared, run.best, device)
        files = [file.stat().st_size for file in Path(folder).rglob("*") if file.is_file()]
        memory = sum(gathered((_main_memory(prepared.recipe.training.workers),)))
        gpu = torch.cuda.max_memory_reserved(device) if device.type == "cuda" else 0
        if processes.is_first:
            _try_export(prepared, run.best)  # when memory has been measured
    return _forecast(
        prepared,
        seconds_per_step=clock.seconds_per_step,
        seconds_per_picture=seconds / processes.count,
        memory_mib=math.ceil(memory / processes.nodes),
        gpu_memory_mib=_mib(max(gathered((gpu,)))) if gpu else None,
        disk_mib=_mib(sum(files)),
    )


def _shortened(prepared: Prepared, folder: Path) -> Prepared:
    """The same run for a few steps and pictures."""
    config = prepared.recipe.training
    short = replace(
        config,
        epochs=_STEPS / _steps_per_epoch(config, prepared.train_data),
        steps=None,
        max_time=None,
        validations=1,
        validate_every=None,
        early_stop=None,
    )
    return replace(
        prepared,
        folder=folder,
        recipe=replace(prepared.recipe, training=short),
        val_data=_first_pictures(prepared.val_data),
        resumed=None,
    )


def _first_pictures(instances: CocoInstances) -> CocoInstances:
    records = instances.records[:_PICTURES]
    ids = {record.image_id for record in records}
    truth = instances.ground_truth
    shown = {
        "images": [image for image in truth["images"] if image["id"] in ids],
        "annotations": [each for each in truth["annotations"] if each["image_id"] in ids],
    }
    return replace(instances, records=records, ground_truth=truth | shown)


def _seconds_per_picture(prepared: Prepared, artifact: Path, device: torch.device) -> float:
    """How long the finished model takes; it is loaded as users load it."""
    predictor = load(artifact, device=str(device))
    few = _first_pictures(prepared.val_data)
    if not few.records:
        return 0.0
    batch_size = min(prepared.recipe.training.batch_size, len(few.records))
    started = time.monotonic()
    evaluate_model(predictor, prepared.recipe.detection, few, batch_size=batch_size).compute()
    return (time.monotonic() - started) / len(few.records)


def _try_export(prepared: Prepared, artifact: Path) -> None:
    """Write the network as an exported file, if ONNX is installed, and check it as always."""
    if find_spec("onnxscript") is None or find_spec("onnxruntime") is None:
        return
    pictures = [record.path for record in _first_pictures(prepared.val_data).records[:1]]
    with tempfile.TemporaryDirectory(prefix="yolact-dry-run-") as folder:
        model = load(artifact, device="cpu", runtime="torch")
        model.export(Path(folder, "best.onnx"), masks="raw", pictures=pictures or None)


def _forecast(
    prepared: Prepared, *, seconds_per_step: float, seconds_per_picture: float, **rest: Any
) -> Forecast:
    config = prepared.recipe.training
    per_epoch = _steps_per_epoch(config, prepared.train_data)
    schedule = Schedule.from_config(config, per_epoch)
    validation = seconds_per_picture * len(prepared.val_data.records)
    limit = schedule.max_seconds or math.inf
    steps = math.inf if schedule.total_steps is None else schedule.total_steps

    def validations(steps: float) -> int:
        if config.validate_every is None:
            return config.validations
        return math.ceil(steps / (config.validate_every * per_epoch))

    if steps == math.inf:  # then there is a limit, and validations share it
        pace = seconds_per_step
        if config.validate_every is not None:
            pace += validation / (config.validate_every * per_epoch)
        fixed = validation * config.validations if config.validate_every is None else 0.0
        steps = max(int((limit - fixed) / pace), 1)
    total = steps * seconds_per_step + validations(steps) * validation
    step_images = min(config.batch_size, len(prepared.train_data.records))
    return Forecast(
        batch_size=step_images,
        steps=int(steps),
        seconds_per_step=seconds_per_step,
        images_per_second=step_images / seconds_per_step,
        validation_seconds=validation,
        validations=validations(steps),
        total_seconds=min(total, limit),
        **rest,
    )


def _steps_per_epoch(config: TrainingConfig, data: CocoInstances) -> int:
    return ShuffledBatches(len(data.records), config.batch_size, config.seed).batches_per_epoch


def _main_memory(workers: int) -> int:
    """Of this process and those that prepare its batches, MiB, at their peaks."""
    try:
        import resource
    except ImportError:  # not on Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 2**10
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # of the largest that has ended
    return _mib((own + workers * worker) * unit)


def _mib(size: float) -> int:
    return math.ceil(size / 2**20)


class _Clock(lightning.Callback):
    """When each step was over."""

    def __init__(self) -> None:
        self._ends: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        self._ends.append(time.monotonic())

    @property
    def seconds_per_step(self) -> float:
        """From end to end, so that waiting for data is in it; the first step is not."""
        return median(_differences(self._ends))


def _differences(values: Iterable[float]) -> list[float]:
    return [after - before for before, after in pairwise(values)]
