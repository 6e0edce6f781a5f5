"""Prediction head (spec 1.8): one set of convolutions for all levels; boxes, classes, coefficients."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from yolact.model.layers import BlockKind


class PredictionHead(nn.Module):
    """A tower of 3x3 convolutions, then three parallel outputs; levels share every convolution.

    The published head (``plain``) has a tower of one and 3x3 outputs. The ``light`` one has batch
    norm in the tower and 1x1 outputs, which cost a ninth.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        depth: int,
        num_anchors: int,
        num_classes: int,
        num_prototypes: int,
        num_levels: int,
        kind: BlockKind,
    ) -> None:
        """Predict ``num_classes + 1`` logits (background first) for ``num_anchors`` per cell."""
        super().__init__()
        self.num_classes, self.num_prototypes = num_classes, num_prototypes
        self.tower = nn.ModuleList(
            LevelConv(in_channels if i == 0 else channels, channels, num_levels, kind)
            for i in range(depth)
        )
        kernel = 3 if kind == "plain" else 1

        def output(values: int) -> nn.Conv2d:
            return nn.Conv2d(channels, num_anchors * values, kernel, padding=kernel // 2)

        self.boxes = output(4)
        self.classes = output(num_classes + 1)
        self.coefficients = output(num_prototypes)

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """P3 … P7 -> offsets (B, A, 4), logits (B, A, C + 1) and coefficients (B, A, k)."""
        boxes, classes, coefficients = [], [], []
        for index, level in enumerate(levels):
            x = level
            for conv in self.tower:
                x = F.relu(conv(x, index))
            boxes.append(_per_anchor(self.boxes(x), 4))
            classes.append(_per_anchor(self.classes(x), self.num_classes + 1))
            coefficients.append(_per_anchor(self.coefficients(x), self.num_prototypes))
        return torch.cat(boxes, 1), torch.cat(classes, 1), torch.tanh(torch.cat(coefficients, 1))


class LevelConv(nn.Module):
    """A 3x3 convolution shared by all levels; where it is normalised, by each level's own norm.

    Levels differ in their statistics: one batch norm for all would learn running means that fit
    none of them.
    """

    def __init__(
        self, in_channels: int, out_channels: int, num_levels: int, kind: BlockKind
    ) -> None:
        """``plain`` has a bias and no norms."""
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=kind == "plain")
        norms = num_levels if kind == "light" else 0
        self.norms = nn.ModuleList(nn.BatchNorm2d(out_channels) for _ in range(norms))

    def forward(self, x: Tensor, level: int) -> Tensor:
        """One level (B, in, h, w) -> (B, out, h, w)."""
        x = self.conv(x)
        normalized: Tensor = self.norms[level](x) if len(self.norms) else x
        return normalized


def _per_anchor(maps: Tensor, values: int) -> Tensor:
    """(B, anchors x values, h, w) -> (B, h x w x anchors, values), in the order of the anchors."""
    return maps.permute(0, 2, 3, 1).reshape(maps.shape[0], -1, values)
