"""What a run begins with: data, recipe, network and record, all checked before the first step."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from yolact import __version__
from yolact.artifacts.metadata import ArtifactMetadata
from yolact.artifacts.run_directory import BEST_ARTIFACT, LAST_CHECKPOINT
from yolact.config.presets import Recipe
from yolact.config.serialize import recipe_to_dict
from yolact.config.training import TrainingConfig
from yolact.data.coco import CocoInstances
from yolact.data.formats.read import load_split
from yolact.errors import CheckpointError, DataError, UsageError
from yolact.model.build import build_yolact
from yolact.model.yolact import Yolact
from yolact.training.batch_size import largest_batch_size
from yolact.training.loader import ShuffledBatches
from yolact.training.precision import check_precision
from yolact.training.processes import Processes
from yolact.training.recipes import new_recipe, resumed_recipe, settled
from yolact.training.request import DEFAULT_MODEL, Request
from yolact.training.schedule import Schedule
from yolact.training.start import first_weights, read_given_weights


@dataclass(frozen=True)
class Prepared:
    """A run before its first step."""

    folder: Path
    """The run directory; may not exist yet."""
    recipe: Recipe
    metadata: ArtifactMetadata
    network: Yolact
    train_data: CocoInstances
    val_data: CocoInstances
    resumed: dict[str, Any] | None
    """What the last checkpoint of a resumed run says about it."""


def prepare(
    processes: Processes,
    device: torch.device,
    request: Request,
) -> Prepared:
    """Read and check everything. Nothing is written.

    Raises:
        YolactError: A subclass says what is wrong with settings, data or weights.
    """
    automatic = request.settings.get("batch_size") == "auto"
    if automatic:
        settings = {key: v for key, v in request.settings.items() if key != "batch_size"}
        request = replace(request, settings=settings)
        if device.type != "cuda":
            raise UsageError("batch_size auto is for GPUs: give a number of images.")
    folder, data = request.folder, Path(request.data)
    train_data, val_data = load_split(data, "train"), load_split(data, "val")
    _check_classes(train_data, val_data)
    if not train_data.records:
        raise DataError(f"{train_data.source} has no images to train on.")

    if request.resume:
        state = _read_state(folder)
        recipe = resumed_recipe(request, train_data)
        network = build_yolact(recipe.model)
        provenance = ArtifactMetadata.from_json(state["metadata"], str(folder)).provenance
    else:
        if processes.is_first and any(
            (folder / name).exists() for name in (LAST_CHECKPOINT, BEST_ARTIFACT)
        ):
            raise UsageError(f"{folder} already holds a run: resume it, or choose another folder.")
        state = None
        given = None
        if request.weights is not None:
            given = read_given_weights(str(request.weights), request.model)
        recipe = new_recipe(request, given, train_data.class_names)
        torch.manual_seed(recipe.training.seed)
        start = first_weights(
            recipe.model,
            given=given,
            imagenet=request.pretrained_backbone,
            backbone_file=request.backbone_weights,
        )
        network = start.network
        name = request.model or (DEFAULT_MODEL if given is None else given.name)
        provenance = {"yolact": __version__, "data": str(train_data.source), "model": name}
        provenance |= start.provenance
    if automatic:
        images = largest_batch_size(network, recipe, train_data, processes, device)
        recipe = replace(recipe, training=replace(recipe.training, batch_size=images))
    images = _images_at_once(recipe.training, len(train_data.records), processes, device)
    if not request.resume:
        recipe = replace(recipe, training=settled(recipe.training, start, images_at_once=images))
    if recipe.model.block == "light" and not recipe.training.freeze_batch_norm and images < 2:
        raise UsageError(
            "a model with light blocks needs at least two images at once, in each process and part: "
            "batch norm. Take another batch_size, or a smaller accumulate."
        )
    check_precision(recipe.training.precision, device, recipe.model.image_size)
    if state is not None:
        _check_unfinished(folder, recipe.training, len(train_data.records), state)
    provenance["training"] = recipe_to_dict(recipe)["training"]
    metadata = ArtifactMetadata(recipe.model, recipe.detection, train_data.category_ids, provenance)
    return Prepared(folder, recipe, metadata, network, train_data, val_data, state)


def _images_at_once(
    config: TrainingConfig, num_images: int, processes: Processes, device: torch.device
) -> int:
    """How many images a batch norm sees.

    Raises:
        UsageError: If the images of a step cannot be dealt out evenly, or batch norm cannot be
            synchronised here.
    """
    step, parts = min(config.batch_size, num_images), processes.count * config.accumulate
    what = "batch_size" if step == config.batch_size else "the number of training images,"
    if step < processes.count:
        raise UsageError(
            f"{processes.count} processes need at least as many images per step: {what} is {step}."
        )
    if step % parts:
        raise UsageError(
            f"{what} is {step}, which does not divide among {processes.count} processes with "
            f"{config.accumulate} parts each: choose a batch_size that is a multiple of {parts}."
        )
    if not config.sync_batch_norm or processes.count == 1:
        return step // parts
    if device.type != "cuda":
        raise UsageError("sync_batch_norm needs GPUs: on a CPU leave it out.")
    return step // config.accumulate


def _check_classes(train_data: CocoInstances, val_data: CocoInstances) -> None:
    train_classes = dict(zip(train_data.category_ids, train_data.class_names, strict=True))
    for category_id, name in zip(val_data.category_ids, val_data.class_names, strict=True):
        if train_classes.get(category_id) != name:
            raise DataError(
                f"{val_data.source} has category {category_id} {name!r}, which in "
                f"{train_data.source} is {train_classes.get(category_id, 'missing')!r}."
            )


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


def _check_unfinished(
    folder: Path, config: TrainingConfig, num_images: int, state: dict[str, Any]
) -> None:
    if config.early_stop is not None and state["without_progress"] >= config.early_stop:
        raise UsageError(
            f"the run in {folder} stopped early; a larger early_stop than {config.early_stop} goes on."
        )
    batches = ShuffledBatches(num_images, config.batch_size, config.seed)
    schedule = Schedule.from_config(config, batches.batches_per_epoch)
    if schedule.progress(state["batches_done"], state["seconds"]) >= 1:
        raise UsageError(f"the run in {folder} is finished; more epochs, steps or max_time go on.")
