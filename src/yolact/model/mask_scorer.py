"""Mask re-scoring (YOLACT++, spec 1.12): how good is a mask, judged by its shape alone?"""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

_CHANNELS = (1, 8, 16, 32, 64, 128)
_SMALLEST = 63
"""Side that five unpadded 3x3 convolutions of stride 2 bring down to a single cell."""


class MaskScorer(nn.Module):
    """Predicts for every class the IoU that a soft mask would have with an object of that class."""

    def __init__(self, num_classes: int) -> None:
        """One output per foreground class."""
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, stride=2) for inputs, outputs in pairwise(_CHANNELS)
        )
        self.project = nn.Conv2d(_CHANNELS[-1], num_classes, 1)

    def forward(self, masks: Tensor) -> Tensor:
        """Cropped soft masks (N, h, w) at prototype resolution -> IoUs (N, C), 0 or more.

        Masks of small inputs are continued with zeros, as there are around every cropped mask.
        """
        height, width = masks.shape[-2:]
        x = masks[:, None]
        if min(height, width) < _SMALLEST:
            x = F.pad(x, (0, max(_SMALLEST - width, 0), 0, max(_SMALLEST - height, 0)))
        for conv in self.convs:
            x = F.relu(conv(x))
        return F.relu(self.project(x)).amax(dim=(2, 3))
