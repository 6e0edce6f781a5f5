"""Mixed precision: half the bits in forward and backward pass, fp32 everywhere else.

Weights, losses, gradients as the optimizer sees them, validation and artifacts stay fp32. With fp16 the
loss is scaled up before the backward pass, or small gradients would vanish (Micikevicius et al., Mixed
Precision Training, 2018).
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from yolact.errors import UsageError

_STRIDE_OF_P6 = 64  # up to this input P6, which the next level is convolved from, is one cell
_HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """The numbers of a pass, and the scale of its loss.

    A scale that is too large makes gradients overflow, in the first steps of every run, until the
    scale has settled. Such a step is no fault of its images: the same batch is tried again with half
    the scale. What is still not finite without any scale is a fault and gets its scale back.
    """

    def __init__(self, name: str, device_type: str) -> None:
        """``name`` is fp32, bf16 or fp16; only fp16 scales."""
        self._device_type = device_type
        self._dtype = _HALVES.get(name)
        self._scaler = torch.amp.GradScaler(device_type, enabled=name == "fp16")
        self._scale_before: float | None = None

    def forward(self) -> AbstractContextManager[Any]:
        """Within it the network computes with these numbers."""
        if self._dtype is None:
            return nullcontext()
        return torch.autocast(self._device_type, self._dtype)

    def scale(self, loss: Tensor) -> Tensor:
        """What to run backwards from."""
        return self._scaler.scale(loss)

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Bring the gradients back to their true size."""
        self._scaler.unscale_(optimizer)

    def try_smaller_scale(self) -> bool:
        """Halve the scale after an overflow; False if no scale is left that could be the cause."""
        scale = self._scaler.get_scale()
        if scale <= 1:
            return False
        if self._scale_before is None:
            self._scale_before = scale
        self._scaler.update(scale / 2)
        return True

    def end_step(self, *, taken: bool) -> None:
        """Let the scale grow after many good steps; leave it as it was after one that is skipped."""
        if taken:
            self._scaler.update()
        else:
            self._scaler.update(self._scale_before or self._scaler.get_scale())
        self._scale_before = None

    def state_dict(self) -> dict[str, Any]:
        """The scale, in plain types; empty where there is none."""
        return self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a scale; a run that had none, or needs none, begins as always."""
        if state:
            self._scaler.load_state_dict(state)


def check_precision(name: str, device: torch.device, image_size: tuple[int, int]) -> None:
    """Try one small step.

    Args:
        name: fp32, bf16 or fp16.
        device: Where to train.
        image_size: (height, width) of the network's input, pixels.

    Raises:
        UsageError: If ``device`` cannot compute with these numbers, or only by imitating them.
    """
    if name not in _HALVES:
        return
    if name == "bf16" and device.type == "cpu" and max(image_size) <= _STRIDE_OF_P6:
        # oneDNN leaves the weight gradient of a strided bf16 convolution of a single cell unset.
        raise UsageError(
            f"on the CPU bf16 needs inputs of more than {_STRIDE_OF_P6} pixels: take a larger size, "
            "or precision fp32."
        )
    if (
        name == "bf16"
        and device.type == "cuda"
        and not torch.cuda.is_bf16_supported(including_emulation=False)
    ):
        raise UsageError("this GPU has no bf16: take precision fp16 or fp32.")
    try:
        layer = nn.Conv2d(8, 8, 3, device=device)
        precision = Precision(name, device.type)
        with precision.forward():
            output = layer(torch.zeros(2, 8, 8, 8, device=device))
        torch.autograd.backward(precision.scale(output.float().sum()))
        precision.unscale(torch.optim.SGD(layer.parameters()))
    except (RuntimeError, NotImplementedError, TypeError, AssertionError) as error:
        raise UsageError(
            f"the device {str(device)!r} cannot train with precision {name}: {error}"
        ) from error
