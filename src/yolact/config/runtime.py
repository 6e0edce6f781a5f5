"""What runs a network, and in which numbers."""

from typing import Literal, get_args

from yolact.errors import UsageError

RuntimeName = Literal["reference", "torch", "onnxruntime", "openvino", "tensorrt"]
RuntimeChoice = RuntimeName | Literal["auto"]
"""``auto`` is torch, or what an exported file is for."""
Precision = Literal["float32", "bf16", "fp16", "int8"]
"""Of the network's arithmetic. What goes in and what comes out is float32 all the same."""
PrecisionChoice = Precision | Literal["auto"]
"""``auto`` is float32, or what an exported file was quantised to."""


def check_names(runtime: str, precision: str) -> None:
    """Make sure that there are such a runtime and such a precision.

    Raises:
        UsageError: If there are not.
    """
    for what, given, known in (
        ("runtime", runtime, get_args(RuntimeName)),
        ("precision", precision, get_args(Precision)),
    ):
        if given not in ("auto", *known):
            raise UsageError(f"{what} must be auto or one of {', '.join(known)}, not {given!r}.")
