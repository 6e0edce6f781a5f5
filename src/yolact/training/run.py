"""``train``: data and a recipe in, a run directory out. Builds, composes, lets Lightning fit."""

import json
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import torch
import yaml
from timm.layers import convert_sync_batchnorm

from yolact.artifacts.run_directory import (
    ABOUT,
    BEST_ARTIFACT,
    CURVES,
    LAST_CHECKPOINT,
    REPORT,
    RUN_CONFIG,
    SNAPSHOTS,
)
from yolact.config.serialize import recipe_to_dict
from yolact.evaluation.analysis import Analysis
from yolact.evaluation.coco import CocoEvaluator, Metrics
from yolact.evaluation.run import Sharing
from yolact.files import write_text
from yolact.inference.evaluate import evaluate_model
from yolact.inference.predictor import Predictor
from yolact.reporting.analysis_file import write_analysis
from yolact.reporting.run_page import best_timeline, write_report
from yolact.reporting.run_record import read_run
from yolact.runtimes.torch_runtime import TorchRuntime
from yolact.training.about import describe
from yolact.training.callbacks import (
    Checkpoints,
    MetricsLog,
    Reporter,
    Stop,
    Validation,
)
from yolact.training.environment import deterministic_operations, explained_errors
from yolact.training.lightning_trainer import lightning_trainer, quiet_lightning
from yolact.training.loader import ShuffledBatches, training_loader, training_samples
from yolact.training.module import YolactModule
from yolact.training.prepare import Prepared, prepare
from yolact.training.processes import (
    Processes,
    gathered,
    run_together,
    take_from_first,
    wait_for_all,
)
from yolact.training.recorder import Recorder
from yolact.training.request import Request
from yolact.training.schedule import Schedule
from yolact.training.trackers.following import Trackers, tracker_names
from yolact.visualization.curves import draw_curves

_TIMELINE_REPEATS = 3  # nobody shall wait long for a page; ``yolact report`` measures more


@dataclass(frozen=True)
class Run:
    """A run directory and how the run ended."""

    folder: Path
    metrics: Metrics | None
    """Of ``best``; None if the run was stopped before the first validation."""
    interrupted: bool
    """Stopped by Ctrl+C or SIGTERM; ``resume=True`` goes on."""

    @property
    def best(self) -> Path:
        """The artifact with the highest mask AP."""
        return self.folder / BEST_ARTIFACT

    @property
    def report(self) -> Path:
        """How it learnt, as a page."""
        return self.folder / REPORT

    @property
    def curves(self) -> Path:
        """Losses and AP over steps, as a picture."""
        return self.folder / CURVES


def train(
    data: str | os.PathLike[str],
    *,
    model: str | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    weights: str | os.PathLike[str] | None = None,
    pretrained_backbone: bool = False,
    backbone_weights: str | os.PathLike[str] | None = None,
    size: int | str | None = None,
    letterbox: bool | None = None,
    device: str = "auto",
    devices: int | None = None,
    nodes: int | None = None,
    tracker: str | Sequence[str] | None = None,
    **settings: Any,
) -> Run:
    """Train a model on a data set and write a run directory.

    Args:
        data: Data set with a train and a val split, in any format of docs/formats.md.
        model: A preset's name or a recipe file; by default ``yolact-nano``, or the architecture of
            ``weights``.
        out: The run directory; ``runs/<model>`` by default, ``runs/fine-tuned`` if ``weights`` name
            the model. A finished run is never overwritten.
        resume: Go on with the run in ``out`` from its last checkpoint, with its own settings;
            only those given here change.
        weights: A model to start from: whatever ``load`` takes. Its classes may be others; where the two have the
            same class, by name, it is kept. The schedule is then that of
            :func:`yolact.config.training.fine_tuning`, unless settings say otherwise.
        pretrained_backbone: Start the backbone from ImageNet weights, which timm fetches once.
        backbone_weights: Start the backbone from this file of the original's instead.
        size: Of the network input in pixels: a number for a square, ``"480x320"`` for a width and
            a height. The model's own by default; anchors keep their share of the shorter side.
        letterbox: Pictures keep their aspect inside the input, instead of being stretched to it;
            as the model has it by default.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        devices: Training processes on each machine, each with a GPU of its own, or on the CPU. One
            by default, or as many as torchrun or SLURM have started.
        nodes: Machines, likewise.
        tracker: ``tensorboard``, ``wandb``, ``mlflow``, or several of them, get the numbers of
            ``metrics.jsonl`` too; ``none`` stops those of a resumed run.
        settings: Fields of :class:`yolact.config.training.TrainingConfig`; ``max_detections``; and
            ``recipe``, which replaces the model's own way of training: ``original``, ``modern``, or a
            YAML file without ``base``. The other settings win over it. ``batch_size`` may be
            ``"auto"`` on a GPU: the largest that fits.

    Raises:
        YolactError: A subclass says what is wrong with settings, data or weights, before the first
            step.
    """
    request = Request(
        data=data,
        model=model,
        out=out,
        resume=resume,
        weights=weights,
        pretrained_backbone=pretrained_backbone,
        backbone_weights=backbone_weights,
        size=size,
        letterbox=letterbox,
        settings=settings,
    )
    trackers = tracker_names(tracker, request.folder if resume else None)
    work = partial(_train, request=request, tracked_by=trackers)
    return run_together(work, device=device, devices=devices, nodes=nodes)


def _train(
    processes: Processes, device: torch.device, *, request: Request, tracked_by: tuple[str, ...]
) -> Run:
    trackers = Trackers(tracked_by) if processes.is_first else None
    prepared = prepare(processes, device, request)
    wait_for_all()  # what is wrong for one of them comes up before the first one writes
    return fit(prepared, processes, device, trackers)


def fit(
    prepared: Prepared,
    processes: Processes,
    device: torch.device,
    trackers: Trackers | None = None,
    *,
    observers: Sequence[lightning.Callback] = (),
) -> Run:
    """Train what is prepared, in every process of ``processes``; the first one writes.

    Args:
        prepared: The run.
        processes: All that train it together.
        device: This one's.
        trackers: Told of everything that is logged; in the first process only.
        observers: Callbacks that look on.
    """
    folder, config = prepared.folder, prepared.recipe.training
    samples = training_samples(prepared.recipe, prepared.train_data)
    batches = ShuffledBatches(
        len(samples),
        config.batch_size,
        config.seed,
        rank=processes.rank,
        world_size=processes.count,
    )
    module = _module(prepared, processes, batches)
    steps_done = None
    if prepared.resumed is not None:
        steps_done = batches.start = prepared.resumed["batches_done"]
    log = MetricsLog(folder, resume_at=steps_done, writes=processes.is_first)
    validation = _validation(prepared, processes, module, log)
    stop = Stop(validation)
    reporter = Reporter(log, validation, stop, steps_per_epoch=batches.batches_per_epoch)
    callbacks = [validation, stop, reporter, Checkpoints(folder), *observers]
    following: AbstractContextManager[None] = nullcontext()
    if processes.is_first:
        facts = describe(prepared, processes, device)
        settings = recipe_to_dict(prepared.recipe)
        write_text(folder / RUN_CONFIG, yaml.safe_dump(settings, sort_keys=False))
        write_text(folder / ABOUT, json.dumps(facts, indent=1) + "\n")
        recorder = Recorder(
            folder / SNAPSHOTS, validation, prepared.val_data, count=config.snapshots
        )
        callbacks.insert(1, recorder)  # it looks at what the validation has just measured
        if trackers is not None:
            recorder.listeners.append(trackers.show)
            validation.analysis_listeners.append(trackers.show_analysis)
            told = settings | facts | {"best": str((folder / BEST_ARTIFACT).absolute())}
            following = trackers.following(log, folder, told, lambda: stop.interrupted)
    with (
        quiet_lightning(),
        closing(samples),
        stop.listening(),
        explained_errors(),
        deterministic_operations(config.deterministic),
        following,
    ):
        trainer = lightning_trainer(processes, device, callbacks)
        trainer.fit(
            module,
            training_loader(samples, batches, config),
            ckpt_path=None if steps_done is None else str(folder / LAST_CHECKPOINT),
        )
    if processes.is_first:
        draw_curves(log.rows, folder / CURVES)
        _write_page(folder, device, has_model=validation.best is not None)
    return Run(folder, validation.best, stop.interrupted)


def _module(prepared: Prepared, processes: Processes, batches: ShuffledBatches) -> YolactModule:
    """What learns, and what tells ``batches`` when the run nears its end."""
    config, network = prepared.recipe.training, prepared.network
    if config.sync_batch_norm and processes.count > 1 and not config.freeze_batch_norm:
        network = convert_sync_batchnorm(network)
    schedule = Schedule.from_config(config, batches.batches_per_epoch)
    module = YolactModule(network, prepared.metadata, config, schedule)
    batches.is_closing = lambda number: schedule.is_closing(number, module.seconds)
    return module


def _validation(
    prepared: Prepared, processes: Processes, module: YolactModule, log: MetricsLog
) -> Validation:
    """Measures the weights to keep, all processes together, and writes where the best AP comes from."""
    config = prepared.recipe.training

    def validate() -> CocoEvaluator:
        take_from_first(module.kept.buffers())
        return evaluate_model(
            Predictor(TorchRuntime(module.kept, module.device), prepared.metadata),
            prepared.recipe.detection,
            prepared.val_data,
            batch_size=max(config.batch_size // (processes.count * config.accumulate), 1),
            sharing=Sharing(processes.rank, processes.count, gathered),
        )

    validation = Validation(validate, prepared.folder, log, patience=config.early_stop)

    def keep_analysis(step: int, analysis: Analysis) -> None:
        assert validation.evaluator is not None
        write_analysis(prepared.folder, step, analysis, validation.evaluator, prepared.val_data)

    validation.analysis_listeners.append(keep_analysis)
    return validation


def _write_page(folder: Path, device: torch.device, *, has_model: bool) -> None:
    record = read_run(folder)
    timeline = None
    if has_model:
        timeline = best_timeline(record, device=str(device), repeats=_TIMELINE_REPEATS)
    write_report(record, timeline=timeline)
