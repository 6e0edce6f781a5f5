"""The recipe of a run: a new one from what the user says, or a resumed run's own."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from yolact.artifacts.run_directory import RUN_CONFIG
from yolact.config.model import parse_size
from yolact.config.presets import Recipe
from yolact.config.serialize import load_recipe, merged, with_settings, with_training_recipe
from yolact.config.training import TrainingConfig
from yolact.data.coco import CocoInstances
from yolact.errors import DataError, UsageError
from yolact.training.request import DEFAULT_MODEL, Request
from yolact.training.start import GivenWeights, Start

_FREEZE_BELOW = 6  # images in a forward pass (spec 5.6)
# What a resumed run keeps: the states of optimizer and average are of these weights alone.
_UNCHANGEABLE = ("optimizer", "freeze", "freeze_batch_norm", "ema_decay")


def new_recipe(
    request: Request, given: GivenWeights | None, class_names: tuple[str, ...]
) -> Recipe:
    """What the model or the given weights stand for, with size, letterbox and settings in their place.

    Raises:
        UsageError: If there is no such model or setting, or a value is refused.
    """
    if given is not None and request.model is None:
        recipe = given.recipe(class_names)
    else:
        name = request.model or DEFAULT_MODEL
        recipe = load_recipe(name, class_names, fine_tune=given is not None)
    return _with_settings(_with_input(recipe, request), request.settings)


def resumed_recipe(request: Request, data: CocoInstances) -> Recipe:
    """The recipe of the run to resume, with the settings that are given in place of its own.

    Raises:
        UsageError: If there is no run, or a setting is one that a run keeps.
        DataError: If the data has other classes.
    """
    folder = request.folder
    stored = _stored_recipe(folder, data)
    if _with_input(stored, request) != stored:
        height, width = stored.model.image_size
        kind = "letterboxed" if stored.model.letterbox else "stretched"
        raise UsageError(
            f"the run in {folder} sees pictures {kind} to {width}x{height}, which a resumed run "
            "keeps; leave size and letterbox out, or start a new run from its weights."
        )
    recipe = _with_settings(stored, request.settings)
    for name in _UNCHANGEABLE:
        before, now = getattr(stored.training, name), getattr(recipe.training, name)
        if before != now:
            raise UsageError(
                f"the run in {folder} was started with {name} {before!r}, which a resumed run "
                f"keeps; leave {now!r} out, or start a new run from its weights."
            )
    return recipe


def settled(config: TrainingConfig, start: Start, *, images_at_once: int) -> TrainingConfig:
    """Decide on batch norm, and refuse to freeze what is not there or has not learnt yet.

    Batch norm is fixed for small batches (spec 5.6), unless random: then its statistics mean nothing.

    Args:
        config: As the user wants it.
        start: What the network begins with.
        images_at_once: How many images a batch norm sees.

    Raises:
        UsageError: If a part is to be frozen that is missing or begins at random, or all are.
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
    small = images_at_once < _FREEZE_BELOW
    return replace(config, freeze_batch_norm=small and start.has_given_batch_norm)


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


def _with_input(recipe: Recipe, request: Request) -> Recipe:
    if request.size is not None:
        recipe = recipe.resized(parse_size(request.size))
    if request.letterbox is not None:
        recipe = replace(recipe, model=replace(recipe.model, letterbox=request.letterbox))
    return recipe


def _with_settings(recipe: Recipe, given: Mapping[str, Any]) -> Recipe:
    settings = dict(given)
    name = settings.pop("recipe", None)
    if name is not None:
        recipe = with_training_recipe(recipe, str(name))
    limit = settings.pop("max_detections", None)
    if limit is not None:
        recipe = replace(recipe, detection=replace(recipe.detection, max_detections=limit))
    training = with_settings(recipe.training, settings, "training settings")
    return replace(recipe, training=training)
