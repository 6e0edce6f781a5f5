"""What a runtime is: normalised images in, raw predictions out. Pre- and post-processing are everyone's."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from yolact.config.runtime import Precision as Precision
from yolact.config.runtime import RuntimeName as RuntimeName
from yolact.errors import UsageError
from yolact.structures import Predictions

RAW_INPUT = "images"
RAW_OUTPUTS = ("box_offsets", "class_logits", "coefficients", "prototypes")
"""What a graph of the network alone calls its tensors; those of :class:`Predictions`."""


class Runtime(Protocol):
    """A network that is ready to run. A new runtime is one file and one line in ``choose.py``."""

    @property
    def name(self) -> RuntimeName:
        """As it is chosen by."""

    @property
    def device(self) -> torch.device:
        """Where it wants its images, and where its predictions lie."""

    @property
    def precision(self) -> Precision:
        """Of the arithmetic inside."""

    @property
    def description(self) -> str:
        """One line for people: what runs where, and what was done to make it fast."""

    @property
    def mask_scorer(self) -> Callable[[Tensor], Tensor] | None:
        """Of a model that judges its masks (YOLACT++): soft masks (N, h, w) -> IoUs (N, C)."""

    def run(self, images: Tensor) -> Predictions:
        """Raw predictions, float32, without semantic logits.

        Args:
            images: float32 (B, 3, H, W), normalised, on ``device``, of the size the model is for.

        Raises:
            UsageError: If the shape is another one.
        """


def check_images(images: Tensor, image_size: tuple[int, int]) -> None:
    """Make sure that a network for ``image_size`` (height, width) can take these images.

    Raises:
        UsageError: If it cannot.
    """
    if images.ndim != 4 or images.shape[1:] != (3, *image_size) or not len(images):
        raise UsageError(
            f"the network takes batches of 3x{image_size[0]}x{image_size[1]} (channels, height, "
            f"width), not {'x'.join(map(str, images.shape))}."
        )


def run_in_parts(
    run: Callable[[Tensor], Predictions], images: Tensor, size: int | None
) -> Predictions:
    """Run images (B, 3, H, W) ``size`` at a time, as a graph of a fixed batch takes them.

    Args:
        run: What runs just so many.
        images: Any number of them.
        size: The graph's batch; None if it takes any.
    """
    if size is None or len(images) == size:
        return run(images)
    parts = []
    for start in range(0, len(images), size):
        part = images[start : start + size]
        lacking = size - len(part)  # in the last, which is filled up
        parts.append(run(F.pad(part, (0, 0, 0, 0, 0, 0, 0, lacking)) if lacking else part))

    def joined(name: str) -> Tensor:
        return torch.cat([getattr(part, name) for part in parts])[: len(images)]

    return Predictions(**{name: joined(name) for name in RAW_OUTPUTS})
