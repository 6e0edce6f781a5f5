"""``load``: from whatever names a model to an object that predicts."""

import os
import sys
from pathlib import Path

import torch
from torch import Tensor

from yolact.artifacts.artifact import network_from, read_artifact, read_metadata
from yolact.artifacts.download import fetch_weights
from yolact.artifacts.importing import read_original
from yolact.artifacts.metadata import ArtifactMetadata
from yolact.artifacts.registry import PUBLISHED
from yolact.artifacts.run_directory import BEST_ARTIFACT
from yolact.config.presets import PRESETS, preset
from yolact.errors import CheckpointError, UsageError
from yolact.inference.predictor import Predictor
from yolact.model.build import build_yolact
from yolact.runtimes.torch_runtime import TorchRuntime

_ARTIFACT, _ORIGINAL = ".safetensors", (".pth", ".pt")


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
    tensors, metadata = read_model(model, weights=weights)
    network = network_from(metadata.model, tensors, str(model if weights is None else weights))
    return Predictor(TorchRuntime(network, target), metadata)


def untrained(name: str, *, device: str = "auto") -> Predictor:
    """The model called ``name`` with random weights, the same each time: to time, not to predict.

    Raises:
        UsageError: If the device does not exist here, or no model has this name.
    """
    target, recipe = choose_device(device), preset(name)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        network = build_yolact(recipe.model)
    metadata = ArtifactMetadata(recipe.model, recipe.detection)
    return Predictor(TorchRuntime(network, target), metadata)


def read_model(
    model: str | os.PathLike[str], *, weights: str | os.PathLike[str] | None = None
) -> tuple[dict[str, Tensor], ArtifactMetadata]:
    """The tensors of a model, by our names, and its record. Arguments and errors as of ``load``."""
    if weights is not None:
        preset(str(model))  # there must be such a model
        name, path = str(model), Path(weights)
    elif (file := model_file(model)) is not None:
        name, path = None, file
    else:
        name, path = str(model), _published_weights(str(model))
    if path.suffix == _ARTIFACT:
        return read_artifact(path)
    return read_original(path, model=name, say=_say)


def read_record(path: Path) -> ArtifactMetadata:
    """What a file says about its model; of an artifact no tensors are read.

    Raises:
        CheckpointError: If the file is missing or broken.
    """
    return read_metadata(path) if path.suffix == _ARTIFACT else read_original(path, say=_say)[1]


def model_file(model: str | os.PathLike[str]) -> Path | None:
    """The file that a run directory, an artifact or an original ``.pth`` means; None for a name.

    Raises:
        CheckpointError: If it is a run directory without a finished model.
    """
    path = Path(model)
    if path.is_dir():
        return _best_artifact(path)
    return path if path.suffix in (*_ORIGINAL, _ARTIFACT) else None


def _best_artifact(run: Path) -> Path:
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


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
