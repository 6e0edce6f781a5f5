"""``load``: from whatever names a model to an object that predicts."""

import os
from pathlib import Path

import torch

from yolact.artifacts.artifact import load_model, load_weights
from yolact.artifacts.metadata import ArtifactMetadata
from yolact.artifacts.original_weights import read_original_weights
from yolact.config.presets import PRESETS, preset
from yolact.errors import CheckpointError, UsageError
from yolact.inference.predictor import Predictor
from yolact.model.build import build_yolact

BEST_ARTIFACT = "best.safetensors"


def load(
    model: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = None,
    device: str = "auto",
) -> Predictor:
    """Load a model to predict with.

    Args:
        model: A run directory, an artifact (``.safetensors``), or a preset's name.
        weights: For a preset's name: the file its weights come from, an artifact or an original
            ``.pth``. Nothing is ever fetched unasked.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.

    Raises:
        CheckpointError: If there is no such model, or its file is broken or of another model.
        UsageError: If the device does not exist here.
    """
    target = choose_device(device)
    path = Path(model)
    if weights is not None:
        return _load_preset(str(model), Path(weights), target)
    if path.is_dir():
        if not (path / BEST_ARTIFACT).is_file():
            raise CheckpointError(f"{path} holds no {BEST_ARTIFACT}: no validation has ended yet.")
        path = path / BEST_ARTIFACT
    if path.suffix == ".safetensors":
        network, metadata = load_model(path)
        return Predictor(network, metadata, device=target)
    if path.suffix == ".pth":
        raise CheckpointError(
            f"{path} does not say which model it is: name one of {', '.join(PRESETS)} "
            "and give the file as weights."
        )
    if str(model) in PRESETS:
        raise CheckpointError(
            f"{model} needs weights: give a file trained with it; nothing is fetched unasked."
        )
    raise CheckpointError(
        f"there is no model {model}: neither a run directory, nor a .safetensors file, nor one of "
        f"{', '.join(PRESETS)}."
    )


def choose_device(name: str) -> torch.device:
    """The device called ``name``; ``auto`` takes the fastest there is.

    Raises:
        UsageError: If it does not exist here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"there is no device {name!r} on this machine.") from error
    return device


def _load_preset(name: str, weights: Path, device: torch.device) -> Predictor:
    recipe = preset(name)
    if weights.suffix == ".safetensors":
        network, metadata = load_model(weights)
        return Predictor(network, metadata, device=device)
    network = build_yolact(recipe.model)
    load_weights(network, read_original_weights(weights), str(weights))
    metadata = ArtifactMetadata(
        recipe.model, recipe.detection, provenance={"weights": str(weights)}
    )
    return Predictor(network, metadata, device=device)
