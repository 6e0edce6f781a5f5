"""A program of torch.export: torch runs it without knowing the model."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from yolact.runtimes.base import Precision, RuntimeName, check_images
from yolact.structures import Predictions


class ProgramRuntime:
    """The network alone as an exported program."""

    name: RuntimeName = "torch"
    precision: Precision = "float32"

    def __init__(
        self,
        program: Any,
        image_size: tuple[int, int],
        device: torch.device,
        *,
        mask_scorer: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        """Take a ``torch.export.ExportedProgram`` for images of (height, width), to ``device``."""
        from torch.export.passes import move_to_device_pass

        self.device, self.mask_scorer, self._image_size = device, mask_scorer, image_size
        self._module = move_to_device_pass(program, device).module()

    @property
    def description(self) -> str:
        """See :class:`yolact.runtimes.base.Runtime`."""
        return f"torch {torch.__version__} on {self.device}, exported program, {self.precision}"

    def run(self, images: Tensor) -> Predictions:
        """See :class:`yolact.runtimes.base.Runtime`."""
        check_images(images, self._image_size)
        with torch.inference_mode():
            return Predictions(*self._module(images))
