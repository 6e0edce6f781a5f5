"""Every error this package raises on purpose, and the exit code the command line gives it.

YolactError
├── UsageError        a setting that does not exist or contradicts another one
├── DataError         a data set that lies, or that cannot be found
├── ImageError        a picture that cannot be read
├── CheckpointError   weights that are missing, broken, or belong to another model
└── ExportError       an exported file that does not answer like its model
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class YolactError(Exception):
    """Base of all errors raised on purpose: the work failed. Its text is one sentence for users."""

    exit_code = 1


class UsageError(YolactError):
    """A setting is unknown, out of range, or contradicts another one."""

    exit_code = 2


class DataError(YolactError):
    """A data set is missing, cannot be parsed, or contradicts itself."""

    exit_code = 3


class ImageError(YolactError):
    """A picture cannot be read or decoded."""

    exit_code = 3


class CheckpointError(YolactError):
    """Weights are missing, broken, or do not fit the model."""

    exit_code = 3


class ExportError(YolactError):
    """An exported file does not answer like the model it was made from."""

    def __init__(self, message: str, parity: object = None) -> None:
        """Keep what the check found, a :class:`yolact.export.parity.Parity`, for those who show it."""
        super().__init__(message)
        self.parity = parity


@contextmanager
def installed_with(extra: str) -> Iterator[None]:
    """Within it optional libraries are imported, and one that would report its users is kept from it.

    Raises:
        UsageError: If one is missing; the message says how to install it.
    """
    with _hidden("openvino_telemetry"):
        try:
            yield
        except ImportError as error:
            raise UsageError(
                f'{error.name or "a library"} is not installed: pip install "yolact[{extra}]".'
            ) from error


@contextmanager
def _hidden(module: str) -> Iterator[None]:
    """Within it ``module`` cannot be imported: whoever wants it takes it for not installed."""
    missing = object()
    before: Any = sys.modules.get(module, missing)
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]
        if before is not missing:
            sys.modules[module] = before
