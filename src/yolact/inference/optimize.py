"""What runs a network: the runtime that is asked for, or the fastest of this machine."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any, Literal

import torch

from yolact.artifacts.metadata import ArtifactMetadata
from yolact.artifacts.record import ExportRecord
from yolact.errors import UsageError
from yolact.model.yolact import Yolact
from yolact.runtimes.base import Precision, Runtime, RuntimeName
from yolact.runtimes.choose import open_graph
from yolact.runtimes.folding import fold_batch_norms
from yolact.runtimes.torch_runtime import TorchRuntime

Say = Callable[[str], object]

_RUNS = 5
"""Of each candidate, after two that warm up."""


def runtime_for(
    network: Yolact,
    metadata: ArtifactMetadata,
    name: RuntimeName | Literal["auto"],
    device: torch.device,
    precision: Precision | Literal["auto"],
    say: Say,
) -> Runtime:
    """A network in the runtime called ``name``; ``auto`` is torch.

    Args:
        network: In evaluation mode. It is used up: torch folds its batch norms, and others read it
            once.
        metadata: Of the model.
        name: Of the runtime.
        device: Where to run.
        precision: Of the arithmetic; ``auto`` is float32.
        say: What is done for it goes there.

    Raises:
        UsageError: If the runtime is not installed, or cannot do this.
    """
    precision = "float32" if precision == "auto" else precision
    if name in ("auto", "torch"):
        return TorchRuntime(fold_batch_norms(network), device, precision=precision)
    raise NotImplementedError
