"""``train``: data and a recipe in, a run directory out. Builds, composes, lets Lightning fit."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning
import torch
import yaml

from yolact import __version__
from yolact.artifacts.artifact import load_weights, read_artifact
from yolact.artifacts.metadata import ArtifactMetadata
from yolact.config.presets import Recipe
from yolact.config.serialize import load_recipe, merged, recipe_to_dict
from yolact.data.coco import CocoInstances, find_split, load_coco
from yolact.data.dataset import TrainingSamples
from yolact.errors import CheckpointError, DataError, UsageError
from yolact.evaluation.coco import Metrics
from yolact.files import write_text
from yolact.inference.evaluate import evaluate_model
from yolact.inference.load import BEST_ARTIFACT, choose_device
from yolact.inference.predictor import Predictor
from yolact.model.build import build_yolact, prototype_size
from yolact.model.yolact import Yolact
from yolact.processing.preprocess import Preprocessor
from yolact.training.callbacks import (
    LAST_CHECKPOINT,
    Checkpoints,
    MetricsLog,
    Reporter,
    Stop,
    Validation,
)
from yolact.training.loader import ShuffledBatches, training_loader
from yolact.training.module import YolactModule
from yolact.training.schedule import Schedule
from yolact.visualization.curves import draw_curves

RUN_CONFIG = "config.yaml"
CURVES = "curves.png"

_FREEZE_BELOW = 6  # images per batch (spec 5.6)


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
    model: str = "yolact-nano",
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    weights: str | os.PathLike[str] | None = None,
    size: int | None = None,
    device: str = "auto",
    **settings: Any,
) -> Run:
    """Train a model on a data set and write a run directory.

    Args:
        data: Folder with ``annotations/instances_train.json``, ``instances_val.json`` and pictures.
        model: A preset's name or a recipe file.
        out: The run directory; ``runs/<model>`` by default. A finished run is never overwritten.
        resume: Go on with the run in ``out`` from its last checkpoint, with its own settings;
            only those given here change.
        weights: An artifact to start from; classes and architecture must be the same.
        size: Side of the square network input in pixels; the model's own by default.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        settings: Fields of :class:`yolact.config.training.TrainingConfig`, and ``max_detections``.

    Raises:
        YolactError: A subclass says what is wrong with settings, data or weights, before the first
            step.
    """
    target = choose_device(device)
    folder = Path(out) if out is not None else Path("runs") / Path(model).stem
    train_data = load_coco(*find_split(Path(data), "train"))
    val_data = load_coco(*find_split(Path(data), "val"))
    _check_classes(train_data, val_data)
    if not train_data.records:
        raise DataError(f"{train_data.source} has no images to train on.")

    if resume:
        recipe = _stored_recipe(folder, train_data)
    else:
        if any((folder / name).exists() for name in (LAST_CHECKPOINT, BEST_ARTIFACT)):
            raise UsageError(f"{folder} already holds a run: resume it, or choose another folder.")
        recipe = load_recipe(model, train_data.class_names)
        if size is not None:
            recipe = recipe.resized((size, size))
    recipe = _with_settings(recipe, settings)

    torch.manual_seed(recipe.training.seed)
    network = build_yolact(recipe.model)
    if weights is not None:
        load_weights(network, read_artifact(Path(weights))[0], str(weights))
    provenance = {"yolact": __version__, "data": str(train_data.source), "model": model}
    metadata = ArtifactMetadata(recipe.model, recipe.detection, train_data.category_ids, provenance)
    freeze = recipe.training.freeze_batch_norm
    if freeze is None:
        freeze = weights is not None and recipe.training.batch_size < _FREEZE_BELOW
    if (
        recipe.model.block == "light"
        and min(recipe.training.batch_size, len(train_data.records)) < 2
    ):
        raise UsageError(
            "a model with light blocks needs at least two images per step: batch norm."
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / RUN_CONFIG, yaml.safe_dump(recipe_to_dict(recipe), sort_keys=False))
    return _fit(
        folder,
        recipe,
        metadata,
        network,
        train_data,
        val_data,
        target,
        resume=resume,
        freeze=freeze,
    )


def _fit(
    folder: Path,
    recipe: Recipe,
    metadata: ArtifactMetadata,
    network: Yolact,
    train_data: CocoInstances,
    val_data: CocoInstances,
    device: torch.device,
    *,
    resume: bool,
    freeze: bool,
) -> Run:
    config = recipe.training
    samples = TrainingSamples(
        train_data,
        Preprocessor(recipe.model),
        prototype_size(recipe.model.image_size),
        augmentation=config.augmentation,
        seed=config.seed,
    )
    batches = ShuffledBatches(len(samples), config.batch_size, config.seed)
    schedule = Schedule.from_config(config, batches.batches_per_epoch)
    module = YolactModule(network, metadata, config, schedule, freeze_batch_norm=freeze)

    checkpoint = folder / LAST_CHECKPOINT
    resumed = _read_state(checkpoint) if resume and checkpoint.is_file() else None
    if resumed is not None:
        batches.start = resumed["batches_done"]
    log = MetricsLog(folder, resume_at=resumed["batches_done"] if resumed else None)

    def validate() -> Metrics:
        predictor = Predictor(module.model, metadata, device=module.device)
        return evaluate_model(predictor, recipe.detection, val_data, batch_size=config.batch_size)

    validation = Validation(
        validate,
        folder,
        log,
        times=config.validations,
        best_ap=resumed["best_ap"] if resumed else -1.0,
    )
    stop = Stop()
    reporter = Reporter(log, validation, steps_per_epoch=batches.batches_per_epoch)
    with _quiet_lightning():
        trainer = lightning.Trainer(
            accelerator=device.type,
            devices=1 if device.index is None else [device.index],
            max_epochs=-1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[stop, validation, reporter, Checkpoints(folder, validation)],
        )
        trainer.fit(
            module,
            training_loader(samples, batches, config),
            ckpt_path=str(checkpoint) if resumed is not None else None,
        )
    draw_curves(log.rows, folder / CURVES)
    return Run(folder, validation.best or validation.latest, stop.interrupted)


def _check_classes(train_data: CocoInstances, val_data: CocoInstances) -> None:
    train_classes = dict(zip(train_data.category_ids, train_data.class_names, strict=True))
    for category_id, name in zip(val_data.category_ids, val_data.class_names, strict=True):
        if train_classes.get(category_id) != name:
            raise DataError(
                f"{val_data.source} has category {category_id} {name!r}, which in "
                f"{train_data.source} is {train_classes.get(category_id, 'missing')!r}."
            )


def _stored_recipe(folder: Path, data: CocoInstances) -> Recipe:
    path = folder / RUN_CONFIG
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"{folder} holds no run to resume: {path} is missing.") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not readable YAML: {error}") from error
    recipe = merged(load_recipe("yolact-nano", data.class_names), document, str(path))
    assert isinstance(recipe, Recipe)
    if recipe.model.class_names != data.class_names:
        raise DataError(
            f"the run in {folder} has the classes {list(recipe.model.class_names)}, "
            f"{data.source} has {list(data.class_names)}."
        )
    return recipe


def _with_settings(recipe: Recipe, settings: dict[str, Any]) -> Recipe:
    settings = dict(settings)
    limit = settings.pop("max_detections", None)
    if limit is not None:
        recipe = replace(recipe, detection=replace(recipe.detection, max_detections=limit))
    if "steps" in settings:  # one length replaces another
        settings.setdefault("epochs", None)
    elif "epochs" in settings:
        settings.setdefault("steps", None)
    elif "max_time" in settings:
        settings |= {"epochs": None, "steps": None}
    training = merged(recipe.training, settings, "training settings")
    return replace(recipe, training=training)


def _read_state(checkpoint: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)[
            "yolact"
        ]
    except Exception as error:  # whatever a broken pickle raises
        raise CheckpointError(f"{checkpoint} cannot be resumed from: {error}") from error
    return state


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Lightning's hints about loaders and hardware are not for our users."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
