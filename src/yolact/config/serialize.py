"""Recipes as plain data and back: for ``config.yaml`` in a run directory and for recipe files."""

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass, replace
from importlib.resources import files
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from yolact.config.model import parse_size
from yolact.config.presets import PRESETS, Recipe, preset
from yolact.config.training import TrainingConfig, fine_tuning
from yolact.errors import UsageError

TRAINING_RECIPES = ("original", "modern")


def recipe_to_dict(recipe: Recipe) -> dict[str, Any]:
    """The whole recipe, nested, of JSON types only."""
    plain: dict[str, Any] = _lists(asdict(recipe))
    return plain


def load_recipe(
    name_or_path: str, class_names: tuple[str, ...], *, fine_tune: bool = False
) -> Recipe:
    """A preset by name, or a YAML file that names one under ``base`` and holds the differences.

    ``size`` in the file is that of the input in pixels, as :func:`parse_size` reads it; anchors
    follow it. With ``fine_tune`` the preset's schedule gives way to :func:`fine_tuning`; what the
    file says stays.

    Raises:
        UsageError: If there is no such preset or file, or the file has a key that does not exist.
    """
    if not name_or_path.endswith((".yaml", ".yml")):
        return _base(name_or_path, class_names, fine_tune)
    path = Path(name_or_path)
    document = _read(path)
    if not isinstance(document, dict) or "base" not in document:
        raise UsageError(
            f"{path} must name its base: one of {', '.join(PRESETS)}; "
            "without one it is a recipe for training (recipe, --recipe)."
        )
    base = _base(str(document.pop("base")), class_names, fine_tune)
    size = document.pop("size", None)
    if size is not None:
        try:
            base = base.resized(parse_size(size))
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from error
    recipe = merged(base, document, str(path))
    assert isinstance(recipe, Recipe)
    return recipe


def with_training_recipe(recipe: Recipe, name_or_path: str) -> Recipe:
    """The same model, trained in another way.

    Args:
        recipe: The model's own.
        name_or_path: One of :data:`TRAINING_RECIPES`, or a YAML file that has ``training`` and
            ``detection``, or one of the two, and no ``base``.

    Raises:
        UsageError: If there is no such recipe, or it has a key that does not exist.
    """
    if name_or_path in TRAINING_RECIPES:
        path = Path(str(files("yolact") / "configs" / f"{name_or_path}.yaml"))
    elif name_or_path.endswith((".yaml", ".yml")):
        path = Path(name_or_path)
    else:
        raise UsageError(
            f"no training recipe is called {name_or_path!r}; there are "
            f"{', '.join(TRAINING_RECIPES)}, or give a .yaml file."
        )
    document = _read(path)
    if not isinstance(document, dict):
        raise UsageError(f"{path} must hold keys and values.")
    if "base" in document:
        raise UsageError(f"{path} names a base, so it is a model's recipe: give it as the model.")
    if unknown := sorted(map(str, document.keys() - {"training", "detection"})):
        raise UsageError(
            f"{path}: a recipe for training has no {unknown[0]}, only training and detection."
        )
    where = f"{path}: training"
    return replace(
        recipe,
        training=with_settings(recipe.training, document.get("training", {}), where),
        detection=merged(recipe.detection, document.get("detection", {}), f"{path}: detection"),
    )


def with_settings(config: TrainingConfig, settings: dict[str, Any], where: str) -> TrainingConfig:
    """As :func:`merged`; a length that is given replaces whatever length there was."""
    if isinstance(settings, dict):
        others = {"steps": ("epochs",), "epochs": ("steps",), "max_time": ("epochs", "steps")}
        given = next((name for name in others if settings.get(name) is not None), None)
        settings = dict.fromkeys(others.get(given or "", ())) | settings
    training = merged(config, settings, where)
    assert isinstance(training, TrainingConfig)
    return training


def merged(config: Any, changes: dict[str, Any], where: str) -> Any:
    """A copy of a (nested) configuration with some values replaced.

    Raises:
        UsageError: If a key does not exist or a value is refused; the message names ``where``.
    """
    if not isinstance(changes, dict):
        raise UsageError(f"{where} must hold keys and values.")
    known = get_type_hints(type(config))
    values = {}
    for key, value in changes.items():
        if key not in known:
            raise UsageError(f"{where}: there is no setting {key}; known are {sorted(known)}.")
        current = getattr(config, key)
        if is_dataclass(current):
            values[key] = merged(current, value, f"{where}: {key}")
        else:
            values[key] = _number(_tuples(value), known[key])
            if not _fits(values[key], known[key]):
                raise UsageError(f"{where}: {key} cannot be {value!r}.")
    return replace(config, **values)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings in one level, as ``training.learning_rate``."""
    level: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            level |= flat(value, f"{prefix}{key}.")
        else:
            level[f"{prefix}{key}"] = value
    return level


def _base(name: str, class_names: tuple[str, ...], fine_tune: bool) -> Recipe:
    recipe = preset(name, class_names)
    return replace(recipe, training=fine_tuning(recipe.training)) if fine_tune else recipe


def _read(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"there is no recipe file {path}.") from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"{path} is not readable YAML: {error}") from error


def _number(value: Any, hint: Any) -> Any:
    # YAML 1.1 reads 1e-3 as a string; people mean a number.
    if isinstance(value, str) and (hint is float or float in get_args(hint)):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value read from YAML is of the type that a field asks for."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in inner
    if origin in (Union, UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        kinds = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        return len(kinds) == len(value) and all(map(_fits, value, kinds))
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, origin or hint)


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, list | tuple) else value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
