"""A program of torch.export: torch runs it without knowing the model."""

from collections.abc import Callable

import torch
from torch import Tensor, fx

from yolact.runtimes.base import Precision, RuntimeName, check_images, run_in_parts
from yolact.structures import Predictions


class ProgramRuntime:
    """The network alone as an exported program."""

    name: RuntimeName = "torch"
    precision: Precision = "float32"

    def __init__(
        self,
        module: fx.GraphModule,
        image_size: tuple[int, int],
        device: torch.device,
        *,
        mask_scorer: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        """Take the module of a program for images of (height, width), to ``device``."""
        self.device, self.mask_scorer, self._image_size = device, mask_scorer, image_size
        self._module = module.to(device)
        given = next(node for node in module.graph.nodes if node.op == "placeholder")
        batch = given.meta["val"].shape[0]
        self._batch = batch if isinstance(batch, int) else None  # or a symbol

    @property
    def description(self) -> str:
        """See :class:`yolact.runtimes.base.Runtime`."""
        return f"torch {torch.__version__} on {self.device}, exported program, {self.precision}"

    def run(self, images: Tensor) -> Predictions:
        """See :class:`yolact.runtimes.base.Runtime`."""
        check_images(images, self._image_size)
        return run_in_parts(self._run_part, images, self._batch)

    def _run_part(self, images: Tensor) -> Predictions:
        with torch.inference_mode():
            return Predictions(*self._module(images))
