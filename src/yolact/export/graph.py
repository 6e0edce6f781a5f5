"""The network as modules of plain tensors, from which every export format is made."""

from copy import deepcopy

import torch
from torch import Tensor, nn

from yolact.model.yolact import Yolact

RAW_INPUT = "images"
RAW_OUTPUTS = ("box_offsets", "class_logits", "coefficients", "prototypes")


class RawGraph(nn.Module):
    """Normalised images in, what :class:`yolact.structures.Predictions` holds out, as a tuple."""

    def __init__(self, network: Yolact) -> None:
        """Take a copy of ``network``: on the CPU, in evaluation mode, every weight in plain order."""
        super().__init__()
        plain = deepcopy(network).to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        self.network: Yolact = plain.requires_grad_(False)
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, 3, H, W) float32 -> the tensors called ``RAW_OUTPUTS``."""
        found = self.network(images)
        return found.box_offsets, found.class_logits, found.coefficients, found.prototypes
