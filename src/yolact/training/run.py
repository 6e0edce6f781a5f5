"""``train``: data and a recipe in, a run directory out. Builds, composes, lets Lightning fit."""

import logging
import os
import platform
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

import lightning
import torch
import yaml
from lightning.pytorch.utilities import rank_zero_only

from yolact import __version__
from yolact.artifacts.metadata import ArtifactMetadata
from yolact.config.model import parse_size
from yolact.config.presets import Recipe
from yolact.config.serialize import (
    load_recipe,
    merged,
    recipe_to_dict,
    with_settings,
    with_training_recipe,
)
from yolact.config.training import TrainingConfig
from yolact.data.cache import image_cache
from yolact.data.coco import CocoInstances
from yolact.data.dataset import TrainingSamples
from yolact.data.formats.read import load_split
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
from yolact.training.environment import deterministic_operations, explained_errors
from yolact.training.loader import ShuffledBatches, training_loader
from yolact.training.module import YolactModule
from yolact.training.precision import check_precision
from yolact.training.schedule import Schedule
from yolact.training.start import GivenWeights, Start, first_weights, read_given_weights
from yolact.training.trackers import Trackers, tracker_names
from yolact.visualization.curves import draw_curves

RUN_CONFIG = "config.yaml"
CURVES = "curves.png"

_DEFAULT_MODEL = "yolact-nano"
_FREEZE_BELOW = 6  # images in a forward pass (spec 5.6)
# What a resumed run keeps: the states of optimizer and average are of these weights alone.
_UNCHANGEABLE = ("optimizer", "freeze", "freeze_batch_norm", "ema_decay")


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
    tracker: str | Sequence[str] | None = None,
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
        size: Of the network input in pixels: a number for a square, ``"480x320"`` for a width and
            a height. The model's own by default; anchors keep their share of the shorter side.
        letterbox: Pictures keep their aspect inside the input, instead of being stretched to it;
            as the model has it by default.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        tracker: ``tensorboard``, ``wandb``, ``mlflow``, or several of them, get the numbers of
            ``metrics.jsonl`` too; ``none`` stops those of a resumed run.
        settings: Fields of :class:`yolact.config.training.TrainingConfig`; ``max_detections``; and
            ``recipe``, which replaces the model's own way of training: ``original``, ``modern``, or a
            YAML file without ``base``. The other settings win over it.

    Raises:
        YolactError: A subclass says what is wrong with settings, data or weights, before the first
            step.
    """
    target = choose_device(device)
    starts = [s for s in (weights, pretrained_backbone, backbone_weights) if s not in (None, False)]
    if len(starts) + resume > 1:
        raise UsageError(
            "choose one of resume, weights, pretrained_backbone and backbone_weights: each says "
            "where the first weights come from."
        )
    name = "fine-tuned" if weights is not None else _DEFAULT_MODEL
    folder = Path(out) if out is not None else Path("runs") / Path(model or name).stem
    trackers = Trackers(tracker_names(tracker, folder if resume else None))
    train_data = load_split(Path(data), "train")
    val_data = load_split(Path(data), "val")
    _check_classes(train_data, val_data)
    if not train_data.records:
        raise DataError(f"{train_data.source} has no images to train on.")

    if resume:
        state = _read_state(folder)
        recipe = _resumed_recipe(folder, train_data, size, letterbox, settings)
        network = build_yolact(recipe.model)
        provenance = ArtifactMetadata.from_json(state["metadata"], str(folder)).provenance
    else:
        if any((folder / name).exists() for name in (LAST_CHECKPOINT, BEST_ARTIFACT)):
            raise UsageError(f"{folder} already holds a run: resume it, or choose another folder.")
        state = None
        given = None if weights is None else read_given_weights(str(weights), model)
        recipe = _new_recipe(model, given, train_data.class_names, size, letterbox, settings)
        torch.manual_seed(recipe.training.seed)
        start = first_weights(
            recipe.model,
            given=given,
            imagenet=pretrained_backbone,
            backbone_file=None if backbone_weights is None else Path(backbone_weights),
        )
        network = start.network
        recipe = replace(recipe, training=_settled(recipe.training, start))
        if model is None:
            model = given.name if given is not None else _DEFAULT_MODEL
        provenance = {"yolact": __version__, "data": str(train_data.source), "model": model}
        provenance |= start.provenance
    provenance["training"] = recipe_to_dict(recipe)["training"]
    metadata = ArtifactMetadata(recipe.model, recipe.detection, train_data.category_ids, provenance)
    if (
        recipe.model.block == "light"
        and not recipe.training.freeze_batch_norm
        and _fewest_at_once(recipe.training, len(train_data.records)) < 2
    ):
        raise UsageError(
            "a model with light blocks needs at least two images at once: batch norm. "
            "Take another batch_size, or a smaller accumulate."
        )
    check_precision(recipe.training.precision, target, recipe.model.image_size)
    return _fit(
        folder, recipe, metadata, network, train_data, val_data, target, trackers, resumed=state
    )


def _fit(
    folder: Path,
    recipe: Recipe,
    metadata: ArtifactMetadata,
    network: Yolact,
    train_data: CocoInstances,
    val_data: CocoInstances,
    device: torch.device,
    trackers: Trackers,
    *,
    resumed: dict[str, Any] | None,
) -> Run:
    config = recipe.training
    samples = TrainingSamples(
        train_data,
        Preprocessor(recipe.model),
        prototype_size(recipe.model.image_size),
        augmentation=config.augmentation,
        seed=config.seed,
        copy_paste=config.copy_paste,
        mosaic=config.mosaic,
        letterbox=recipe.model.letterbox,
        cache=image_cache(train_data.records, config.cache_images),
    )
    batches = ShuffledBatches(len(samples), config.batch_size, config.seed)
    schedule = Schedule.from_config(config, batches.batches_per_epoch)
    if resumed is not None:
        _check_unfinished(folder, schedule, resumed)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / RUN_CONFIG, yaml.safe_dump(recipe_to_dict(recipe), sort_keys=False))
    module = YolactModule(network, metadata, config, schedule)
    batches.is_closing = lambda number: schedule.is_closing(number, module.seconds)

    if resumed is not None:
        batches.start = resumed["batches_done"]
    log = MetricsLog(folder, resume_at=resumed["batches_done"] if resumed else None)

    def validate() -> Metrics:
        predictor = Predictor(module.kept, metadata, device=module.device)
        at_once = config.batch_size // config.accumulate
        return evaluate_model(predictor, recipe.detection, val_data, batch_size=at_once)

    validation = Validation(
        validate,
        folder,
        log,
        patience=config.early_stop,
    )
    stop = Stop(validation)
    reporter = Reporter(log, validation, stop, steps_per_epoch=batches.batches_per_epoch)
    about = _description(folder, recipe, metadata, device)
    is_first_process = rank_zero_only.rank == 0  # type: ignore[attr-defined]
    tracking = trackers.following(log, folder, about, lambda: stop.interrupted)
    with (
        _quiet_lightning(),
        stop.listening(),
        explained_errors(),
        deterministic_operations(config.deterministic),
        tracking if is_first_process else nullcontext(),
    ):
        trainer = lightning.Trainer(
            accelerator=device.type,
            devices=1 if device.index is None else [device.index],
            max_epochs=-1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[validation, stop, reporter, Checkpoints(folder)],
        )
        trainer.fit(
            module,
            training_loader(samples, batches, config),
            ckpt_path=str(folder / LAST_CHECKPOINT) if resumed is not None else None,
        )
    draw_curves(log.rows, folder / CURVES)
    return Run(folder, validation.best, stop.interrupted)


def _description(
    folder: Path, recipe: Recipe, metadata: ArtifactMetadata, device: torch.device
) -> dict[str, Any]:
    """What trackers keep of a run beside its numbers."""
    origin = {key: value for key, value in metadata.provenance.items() if key != "training"}
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    best = str((folder / BEST_ARTIFACT).absolute())
    about = {"provenance": origin, "versions": versions, "device": str(device), "best": best}
    return recipe_to_dict(recipe) | about


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


def _resumed_recipe(
    folder: Path,
    data: CocoInstances,
    size: int | str | None,
    letterbox: bool | None,
    settings: dict[str, Any],
) -> Recipe:
    stored = _stored_recipe(folder, data)
    if _with_input(stored, size, letterbox) != stored:
        height, width = stored.model.image_size
        kind = "letterboxed" if stored.model.letterbox else "stretched"
        raise UsageError(
            f"the run in {folder} sees pictures {kind} to {width}x{height}, which a resumed run "
            "keeps; leave size and letterbox out, or start a new run from its weights."
        )
    recipe = _with_settings(stored, settings)
    for name in _UNCHANGEABLE:
        before, now = getattr(stored.training, name), getattr(recipe.training, name)
        if before != now:
            raise UsageError(
                f"the run in {folder} was started with {name} {before!r}, which a resumed run "
                f"keeps; leave {now!r} out, or start a new run from its weights."
            )
    return recipe


def _with_input(recipe: Recipe, size: int | str | None, letterbox: bool | None) -> Recipe:
    if size is not None:
        recipe = recipe.resized(parse_size(size))
    if letterbox is not None:
        recipe = replace(recipe, model=replace(recipe.model, letterbox=letterbox))
    return recipe


def _with_settings(recipe: Recipe, settings: dict[str, Any]) -> Recipe:
    settings = dict(settings)
    name = settings.pop("recipe", None)
    if name is not None:
        recipe = with_training_recipe(recipe, str(name))
    limit = settings.pop("max_detections", None)
    if limit is not None:
        recipe = replace(recipe, detection=replace(recipe.detection, max_detections=limit))
    training = with_settings(recipe.training, settings, "training settings")
    return replace(recipe, training=training)


def _new_recipe(
    model: str | None,
    given: GivenWeights | None,
    class_names: tuple[str, ...],
    size: int | str | None,
    letterbox: bool | None,
    settings: dict[str, Any],
) -> Recipe:
    if given is not None and model is None:
        recipe = given.recipe(class_names)
    else:
        recipe = load_recipe(model or _DEFAULT_MODEL, class_names, fine_tune=given is not None)
    return _with_settings(_with_input(recipe, size, letterbox), settings)


def _settled(config: TrainingConfig, start: Start) -> TrainingConfig:
    """Decide on batch norm, and refuse to freeze what is not there or has not learnt anything yet.

    Batch norm is fixed for small batches (spec 5.6), unless random: then its statistics mean nothing.
    """
    parts = [name for name, _ in start.network.named_children()]
    if set(parts) <= set(config.freeze):
        raise UsageError("every part is frozen: leave at least one out, or nothing is learnt.")
    for part in config.freeze:
        if part not in parts:
            raise UsageError(
                f"{part} cannot be frozen: this model has none; it has {', '.join(parts)}."
            )
        if any(name.startswith(f"{part}.") for name in start.random):
            raise UsageError(
                f"{part} cannot be frozen: it begins at random, at least in part, and would stay so."
            )
    if config.freeze_batch_norm is not None:
        return config
    small = config.batch_size // config.accumulate < _FREEZE_BELOW
    return replace(config, freeze_batch_norm=small and start.has_given_batch_norm)


def _fewest_at_once(config: TrainingConfig, num_images: int) -> int:
    """Images of the smallest part that passes the network."""
    step = min(config.batch_size, num_images)
    part = ceil(step / config.accumulate)
    return step % part or part


def _check_unfinished(folder: Path, schedule: Schedule, state: dict[str, Any]) -> None:
    patience = schedule.config.early_stop
    if patience is not None and state["without_progress"] >= patience:
        raise UsageError(
            f"the run in {folder} stopped early; a larger early_stop than {patience} goes on."
        )
    if schedule.progress(state["batches_done"], state["seconds"]) >= 1:
        raise UsageError(f"the run in {folder} is finished; more epochs, steps or max_time go on.")


def _read_state(folder: Path) -> dict[str, Any]:
    checkpoint = folder / LAST_CHECKPOINT
    if not checkpoint.is_file():
        raise UsageError(f"{folder} holds no run to resume: {checkpoint} is missing.")
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
