"""``train``: data and a recipe in, a run directory out. Builds, composes, lets Lightning fit."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import torch
import yaml
from timm.layers import convert_sync_batchnorm

from yolact.config.serialize import recipe_to_dict
from yolact.evaluation.coco import Metrics
from yolact.evaluation.run import Sharing
from yolact.files import write_text
from yolact.inference.evaluate import evaluate_model
from yolact.inference.load import BEST_ARTIFACT
from yolact.inference.predictor import Predictor
from yolact.training.callbacks import (
    LAST_CHECKPOINT,
    Checkpoints,
    MetricsLog,
    Reporter,
    Stop,
    Validation,
)
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
from yolact.training.recipes import RUN_CONFIG
from yolact.training.schedule import Schedule
from yolact.visualization.curves import draw_curves

CURVES = "curves.png"


@dataclass(frozen=True)
class Run:
    """A run directory and how the run ended."""

    folder: Path
    metrics: Metrics | None
    """Of ``best``; of the last validation if ``best`` is from before the run was resumed; None if
    the run was stopped before the first validation."""
    interrupted: bool
    """Stopped by Ctrl+C or SIGTERM; ``resume=True`` goes on."""

    @property
    def best(self) -> Path:
        """The artifact with the highest mask AP."""
        return self.folder / BEST_ARTIFACT

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
    size: int | None = None,
    device: str = "auto",
    devices: int | None = None,
    nodes: int | None = None,
    **settings: Any,
) -> Run:
    """Train a model on a data set and write a run directory.

    Args:
        data: Folder with ``annotations/instances_train.json``, ``instances_val.json`` and pictures.
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
        size: Side of the square network input in pixels; the model's own by default.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        devices: Training processes on each machine, each with a GPU of its own, or on the CPU. One
            by default, or as many as torchrun or SLURM have started.
        nodes: Machines, likewise.
        settings: Fields of :class:`yolact.config.training.TrainingConfig`, and ``max_detections``.
            ``batch_size`` may be ``"auto"`` on a GPU: the largest that fits.

    Raises:
        YolactError: A subclass says what is wrong with settings, data or weights, before the first
            step.
    """
    work = partial(
        _train,
        data=data,
        model=model,
        out=out,
        resume=resume,
        weights=weights,
        pretrained_backbone=pretrained_backbone,
        backbone_weights=backbone_weights,
        size=size,
        **settings,
    )
    return run_together(work, device=device, devices=devices, nodes=nodes)


def _train(processes: Processes, device: torch.device, **arguments: Any) -> Run:
    prepared = prepare(processes, device, **arguments)
    wait_for_all()  # what is wrong for one of them comes up before the first one writes
    return fit(prepared, processes, device)


def fit(
    prepared: Prepared,
    processes: Processes,
    device: torch.device,
    *,
    observers: Sequence[lightning.Callback] = (),
) -> Run:
    """Train what is prepared, in every process of ``processes``; the first one writes.

    Args:
        prepared: The run.
        processes: All that train it together.
        device: This one's.
        observers: Callbacks that look on.
    """
    folder, recipe, resumed = prepared.folder, prepared.recipe, prepared.resumed
    config = recipe.training
    samples = training_samples(recipe, prepared.train_data)
    batches = ShuffledBatches(
        len(samples),
        config.batch_size,
        config.seed,
        rank=processes.rank,
        world_size=processes.count,
    )
    schedule = Schedule.from_config(config, batches.batches_per_epoch)
    network = prepared.network
    if config.sync_batch_norm and processes.count > 1 and not config.freeze_batch_norm:
        network = convert_sync_batchnorm(network)
    module = YolactModule(network, prepared.metadata, config, schedule)
    if resumed is not None:
        batches.start = resumed["batches_done"]

    if processes.is_first:
        write_text(folder / RUN_CONFIG, yaml.safe_dump(recipe_to_dict(recipe), sort_keys=False))
    log = MetricsLog(
        folder,
        resume_at=resumed["batches_done"] if resumed else None,
        writes=processes.is_first,
    )

    def validate() -> Metrics:
        take_from_first(module.model.buffers())
        return evaluate_model(
            Predictor(module.model, prepared.metadata, device=module.device),
            recipe.detection,
            prepared.val_data,
            batch_size=max(config.batch_size // processes.count, 1),
            sharing=Sharing(processes.rank, processes.count, gathered),
        )

    validation = Validation(
        validate,
        folder,
        log,
        times=config.validations,
        best_ap=resumed["best_ap"] if resumed else -1.0,
    )
    stop = Stop()
    reporter = Reporter(log, validation, steps_per_epoch=batches.batches_per_epoch)
    checkpoints = Checkpoints(folder, validation)
    with quiet_lightning():
        trainer = lightning_trainer(
            processes, device, [stop, validation, reporter, checkpoints, *observers]
        )
        trainer.fit(
            module,
            training_loader(samples, batches, config),
            ckpt_path=str(folder / LAST_CHECKPOINT) if resumed is not None else None,
        )
    if processes.is_first:
        draw_curves(log.rows, folder / CURVES)
    return Run(folder, validation.best or validation.latest, stop.interrupted)
