"""``load``: from whatever names a model to an object that predicts."""

import os
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
from yolact.config.runtime import PrecisionChoice, RuntimeChoice, check_names
from yolact.errors import CheckpointError, UsageError
from yolact.inference.optimize import runtime_for, say
from yolact.inference.predictor import Predictor
from yolact.inference.reference import ReferencePredictor
from yolact.model.build import build_yolact
from yolact.model.yolact import Yolact
from yolact.runtimes.choose import open_file, runtime_of_file
from yolact.runtimes.graph_file import SUFFIXES, read_graph_record
from yolact.runtimes.onnx_runtime import runs_on_cuda

_ARTIFACT, _ORIGINAL = ".safetensors", (".pth", ".pt")


def load(
    model: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = None,
    device: str = "auto",
    runtime: RuntimeChoice = "auto",
    precision: PrecisionChoice = "auto",
) -> Predictor:
    """Load a model to predict with.

    Args:
        model: A run directory, an artifact (``.safetensors``), an original ``.pth``, an exported
            file (``.onnx``, OpenVINO's ``.xml``, torch's ``.pt2``), or a model's name. A published
            model that is not on this machine yet is fetched; what is fetched and from where is said
            on stderr first.
        weights: For a model's name: the file its weights come from, an artifact or an original
            ``.pth``. Nothing is fetched then.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        runtime: What runs the network. ``auto`` takes torch, and for an exported file what the
            format belongs to. For another the network is converted in memory, which is said on
            stderr. See also :meth:`Predictor.optimize`.
        precision: Of the network's arithmetic; ``auto`` is float32, or what an exported file was
            quantised to.

    Raises:
        CheckpointError: If there is no such model, or its file is broken, of another model, or can
            be neither found nor fetched.
        UsageError: If the device does not exist here, no model has this name, or the runtime is not
            installed or cannot do this.
    """
    check_names(runtime, precision)
    path = model_file(model)
    if weights is None and path is not None and path.suffix in SUFFIXES:
        name = runtime_of_file(path, runtime)
        return Predictor(*open_file(path, name, choose_device(device, name), precision))
    target = choose_device(device, runtime)
    tensors, metadata = read_model(model, weights=weights)
    network = network_from(metadata.model, tensors, str(model if weights is None else weights))
    return _predictor(network, metadata, runtime, target, precision)


def untrained(
    name: str,
    *,
    device: str = "auto",
    runtime: RuntimeChoice = "auto",
    precision: PrecisionChoice = "auto",
) -> Predictor:
    """The model called ``name`` with random weights, the same each time: to time, not to predict.

    Raises:
        UsageError: As :func:`load`.
    """
    check_names(runtime, precision)
    target, recipe = choose_device(device, runtime), preset(name)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        network = build_yolact(recipe.model).eval()
    metadata = ArtifactMetadata(recipe.model, recipe.detection)
    return _predictor(network, metadata, runtime, target, precision)


def _predictor(
    network: Yolact,
    metadata: ArtifactMetadata,
    runtime: RuntimeChoice,
    device: torch.device,
    precision: PrecisionChoice,
) -> Predictor:
    if runtime != "reference":
        made = runtime_for(network, metadata, runtime, device, precision)
        return Predictor(made, metadata)
    if precision not in ("auto", "float32"):
        raise UsageError("the runtime reference computes in float32 only.")
    return ReferencePredictor(network, device, metadata)


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
    if path.suffix in SUFFIXES:
        raise CheckpointError(
            f"{path} is an exported network, no set of weights: give the model it was made from."
        )
    return read_original(path, model=name, say=say)


def read_record(path: Path) -> ArtifactMetadata:
    """What a file says about its model; of an artifact no tensors are read.

    Raises:
        CheckpointError: If the file is missing or broken.
        UsageError: If the library that reads an exported file is not installed.
    """
    if path.suffix in SUFFIXES:
        return read_graph_record(path).metadata
    return read_metadata(path) if path.suffix == _ARTIFACT else read_original(path, say=say)[1]


def model_file(model: str | os.PathLike[str]) -> Path | None:
    """The file that a run directory, or a model's file, means; None for a name.

    Raises:
        CheckpointError: If it is a run directory without a finished model.
    """
    path = Path(model)
    if path.is_dir():
        return _best_artifact(path)
    return path if path.suffix in (*_ORIGINAL, _ARTIFACT, *SUFFIXES) else None


def _best_artifact(run: Path) -> Path:
    """The best model of a run directory.

    Raises:
        CheckpointError: If it has none yet.
    """
    if not (run / BEST_ARTIFACT).is_file():
        raise CheckpointError(f"{run} holds no {BEST_ARTIFACT}: no validation has ended yet.")
    return run / BEST_ARTIFACT


def choose_device(name: str, runtime: RuntimeChoice = "torch") -> torch.device:
    """The device called ``name``; ``auto`` takes the fastest that the runtime can use.

    Raises:
        UsageError: If it does not exist here, or the runtime is not installed.
    """
    if name == "auto":
        if runtime == "openvino" or (runtime == "onnxruntime" and not runs_on_cuda()):
            return torch.device("cpu")
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
        return fetch_weights(PUBLISHED[name], say)
    if name in PRESETS:
        raise CheckpointError(
            f"{name} needs weights: give a file trained with it; none are published."
        )
    raise CheckpointError(
        f"there is no model {name}: neither a run directory, nor a .safetensors, .pth, .onnx, .xml or "
        f".pt2 file, nor one of {', '.join(PRESETS)}."
    )
