"""What torch is told for the time of one training, and what its errors mean to a user."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from yolact.errors import UsageError, YolactError

_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"  # cuBLAS is deterministic only with a workspace of fixed size


@contextmanager
def deterministic_operations(wanted: bool) -> Iterator[None]:
    """Only operations that give the same bits every time; afterwards everything is as before."""
    if not wanted:
        yield
        return
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    workspace = os.environ.get(_CUBLAS)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    os.environ.setdefault(_CUBLAS, ":4096:8")
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark
        if workspace is None:
            del os.environ[_CUBLAS]


@contextmanager
def explained_errors() -> Iterator[None]:
    """Say in a sentence what a training on this machine cannot do.

    Raises:
        UsageError: If an operation has no deterministic version, or the network cannot be compiled.
        YolactError: If the device has too little memory.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise YolactError(
            "the device has too little memory: take a smaller batch_size or size, or a larger "
            "accumulate, or precision bf16 or fp16."
        ) from error
    except RuntimeError as error:
        text = str(error)
        if "deterministic" in text and "use_deterministic_algorithms" in text:
            operation = text.split(" does not have")[0]
            raise UsageError(
                f"{operation} has no deterministic version on this device: train on the CPU, or "
                "without deterministic."
            ) from error
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            reason = " ".join(text.strip().splitlines()[:2])
            raise UsageError(
                f"the network cannot be compiled on this machine ({reason}): leave compile out."
            ) from error
        raise
