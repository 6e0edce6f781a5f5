"""A trained model on disk: weights as safetensors with the metadata record inside. Never code."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from yolact.artifacts.metadata import ArtifactMetadata
from yolact.config.model import ModelConfig
from yolact.errors import CheckpointError, UsageError
from yolact.files import replacing
from yolact.model.build import build_skeleton
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
    with _opened(path) as (file, metadata):
        return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118


def read_metadata(path: Path) -> ArtifactMetadata:
    """The record of an artifact alone; its tensors are not read.

    Raises:
        CheckpointError: As :func:`read_artifact`.
    """
    with _opened(path) as (_, metadata):
        return metadata


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, ArtifactMetadata]]:
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            record = (file.metadata() or {}).get(_KEY)
            if record is None:
                raise CheckpointError(f"{path} holds tensors but no yolact model record.")
            yield file, ArtifactMetadata.from_json(record, str(path))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error


def network_from(config: ModelConfig, weights: dict[str, Tensor], source: str) -> Yolact:
    """The network of ``config`` made of these very tensors, in evaluation mode.

    No second set of weights is ever in memory.

    Args:
        config: The architecture.
        weights: A full set, by our names. The network keeps the tensors.
        source: What messages call it.

    Raises:
        CheckpointError: If no such network can be built or the weights do not fit it.
    """
    try:
        model = build_skeleton(config)
    except UsageError as error:
        raise CheckpointError(
            f"{source} describes a model that cannot be built: {error}"
        ) from error
    load_weights(model, weights, source)
    return model.eval()


def load_weights(model: torch.nn.Module, weights: dict[str, Tensor], source: str) -> None:
    """Load a full set of weights, strictly. A network on the meta device takes the tensors over.

    Raises:
        CheckpointError: If names or shapes differ; the message lists the differences.
    """
    check_weights(model, weights, source)
    own = model.state_dict()
    if any(tensor.is_meta for tensor in own.values()):
        model.load_state_dict({k: v.to(own[k].dtype) for k, v in weights.items()}, assign=True)
    else:
        model.load_state_dict(weights)


def check_weights(model: torch.nn.Module, weights: dict[str, Tensor], source: str) -> None:
    """Make sure that names and shapes are exactly those of ``model``.

    Raises:
        CheckpointError: If they differ; the message lists the differences.
    """
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if missing := [name for name in expected if name not in weights]:
        raise CheckpointError(f"{source} does not fit this model: it lacks {_listed(missing)}.")
    for name, shape in expected.items():
        if weights[name].shape != shape:
            raise CheckpointError(
                f"{source} does not fit this model: {name} is {tuple(weights[name].shape)}, "
                f"{tuple(shape)} is needed."
            )
    if unknown := sorted(set(weights) - set(expected)):
        raise CheckpointError(
            f"{source} does not fit this model: it has {_listed(unknown)} in excess."
        )


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:10])
    return shown if len(names) <= 10 else f"{shown} and {len(names) - 10} more"
