"""Prediction head (spec 1.8): one set of weights for all levels; boxes, classes, coefficients."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from yolact.model.layers import BlockKind, conv3x3


class PredictionHead(nn.Module):
    """One shared 3x3 convolution, then three parallel ones."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        num_anchors: int,
        num_classes: int,
        num_prototypes: int,
        kind: BlockKind,
    ) -> None:
        """Predict ``num_classes + 1`` logits (background first) for ``num_anchors`` per cell."""
        super().__init__()
        self.num_classes, self.num_prototypes = num_classes, num_prototypes
        self.shared = conv3x3(in_channels, channels, kind)
        self.boxes = nn.Conv2d(channels, num_anchors * 4, 3, padding=1)
        self.classes = nn.Conv2d(channels, num_anchors * (num_classes + 1), 3, padding=1)
        self.coefficients = nn.Conv2d(channels, num_anchors * num_prototypes, 3, padding=1)

    def forward(self, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One pyramid level -> offsets (B, a, 4), logits (B, a, C + 1), coefficients (B, a, k)."""
        x = F.relu(self.shared(level))
        return (
            _per_anchor(self.boxes(x), 4),
            _per_anchor(self.classes(x), self.num_classes + 1),
            torch.tanh(_per_anchor(self.coefficients(x), self.num_prototypes)),
        )


def _per_anchor(maps: Tensor, values: int) -> Tensor:
    """(B, anchors x values, h, w) -> (B, h x w x anchors, values), in the order of the anchors."""
    return maps.permute(0, 2, 3, 1).reshape(len(maps), -1, values)
