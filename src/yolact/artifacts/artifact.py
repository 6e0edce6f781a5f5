"""A trained model on disk: weights as safetensors with the metadata record inside. Never code."""

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from yolact.artifacts.metadata import ArtifactMetadata
from yolact.errors import CheckpointError, UsageError
from yolact.files import replacing
from yolact.model.build import build_yolact
from yolact.model.yolact import Yolact

_KEY = "yolact"


def write_artifact(path: Path, weights: dict[str, Tensor], metadata: ArtifactMetadata) -> None:
    """Write weights and record as one ``.safetensors`` file, whole."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    with replacing(path) as temporary:
        save_file(contiguous, temporary, metadata={_KEY: metadata.to_json()})


def read_artifact(path: Path) -> tuple[dict[str, Tensor], ArtifactMetadata]:
    """Read what :func:`write_artifact` wrote.

    Raises:
        CheckpointError: If the file is missing, is no safetensors file, or was not written by this
            package.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            record = (file.metadata() or {}).get(_KEY)
            if record is None:
                raise CheckpointError(f"{path} holds tensors but no yolact model record.")
            metadata = ArtifactMetadata.from_json(record, str(path))
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error


def load_model(path: Path) -> tuple[Yolact, ArtifactMetadata]:
    """Build the network of an artifact and give it its weights, strictly, in evaluation mode.

    Raises:
        CheckpointError: If the file cannot be read or its weights do not fit its own record.
    """
    weights, metadata = read_artifact(path)
    try:
        model = build_yolact(metadata.model)
    except UsageError as error:
        raise CheckpointError(f"{path} describes a model that cannot be built: {error}") from error
    load_weights(model, weights, str(path))
    return model.eval(), metadata


def load_weights(model: torch.nn.Module, weights: dict[str, Tensor], source: str) -> None:
    """Load a full set of weights, strictly.

    Raises:
        CheckpointError: If names or shapes differ; the message names the first difference.
    """
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    for name, shape in expected.items():
        if name not in weights:
            raise CheckpointError(f"{source} does not fit this model: it lacks {name}.")
        if weights[name].shape != shape:
            raise CheckpointError(
                f"{source} does not fit this model: {name} is {tuple(weights[name].shape)}, "
                f"{tuple(shape)} is needed."
            )
    if unknown := sorted(set(weights) - set(expected)):
        raise CheckpointError(f"{source} does not fit this model: it has {unknown[0]} in excess.")
    model.load_state_dict(weights)
