"""``load``: from whatever names a model to an object that predicts."""

import os
import sys
from pathlib import Path

import torch

from yolact.artifacts.artifact import load_model, network_from
from yolact.artifacts.download import fetch_weights
from yolact.artifacts.importing import read_original
from yolact.artifacts.metadata import ArtifactMetadata
from yolact.artifacts.registry import PUBLISHED
from yolact.config.presets import PRESETS, preset
from yolact.errors import CheckpointError, UsageError
from yolact.inference.predictor import Predictor
from yolact.model.yolact import Yolact

BEST_ARTIFACT = "best.safetensors"
_ORIGINAL = (".pth", ".pt")


def load(
    model: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = None,
    device: str = "auto",
) -> Predictor:
    """Load a model to predict with.

    Args:
        model: A run directory, an artifact (``.safetensors``), an original ``.pth``, or a model's
            name. A published model that is not on this machine yet is fetched; what is fetched and
            from where is said on stderr first.
        weights: For a model's name: the file its weights come from, an artifact or an original
            ``.pth``. Nothing is fetched then.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.

    Raises:
        CheckpointError: If there is no such model, or its file is broken, of another model, or can
            be neither found nor fetched.
        UsageError: If the device does not exist here, or no model has this name.
    """
    target = choose_device(device)
    path = Path(model)
    name = None
    if weights is not None:
        name, path = str(model), Path(weights)
        preset(name)  # there must be such a model
    elif path.is_dir():
        path = best_artifact(path)
    elif path.suffix not in (*_ORIGINAL, ".safetensors"):
        name, path = str(model), _published_weights(str(model))
    network, metadata = _read(path, name)
    return Predictor(network, metadata, device=target)


def best_artifact(run: Path) -> Path:
    """The best model of a run directory.

    Raises:
        CheckpointError: If it has none yet.
    """
    if not (run / BEST_ARTIFACT).is_file():
        raise CheckpointError(f"{run} holds no {BEST_ARTIFACT}: no validation has ended yet.")
    return run / BEST_ARTIFACT


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


def _published_weights(name: str) -> Path:
    if name in PUBLISHED:
        return fetch_weights(PUBLISHED[name], _say)
    if name in PRESETS:
        raise CheckpointError(
            f"{name} needs weights: give a file trained with it; none are published."
        )
    raise CheckpointError(
        f"there is no model {name}: neither a run directory, nor a .safetensors or .pth file, nor "
        f"one of {', '.join(PRESETS)}."
    )


def _read(path: Path, name: str | None) -> tuple[Yolact, ArtifactMetadata]:
    if path.suffix == ".safetensors":
        return load_model(path)
    weights, metadata = read_original(path, model=name, say=_say)
    return network_from(metadata.model, weights, str(path)), metadata


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
