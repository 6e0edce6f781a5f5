"""Anchors: the reference boxes that predictions are relative to (spec 1.9)."""

from collections.abc import Sequence
from math import sqrt

import torch
from torch import Tensor


def generate_anchors(
    feature_sizes: Sequence[tuple[int, int]],
    scales: Sequence[Sequence[float]],
    ratios: Sequence[float],
    image_size: tuple[int, int],
    *,
    square: bool = False,
) -> Tensor:
    """All anchors of all levels, finest level first.

    Within a level the order is row, column, scale, ratio (fastest), which is the order in which
    the prediction head lays out its channels.

    Args:
        feature_sizes: (height, width) of each level's feature map.
        scales: Sides in pixels of the network input, for each level.
        ratios: Width over height; the area stays that of a square of the scale.
        image_size: Network input, (height, width) in pixels.
        square: Copy the width into the height, as the published v1 weights need.

    Returns:
        (A, 4) float32: cx cy w h as fractions of the network input, not clipped. Computed in
        double precision and rounded once.
    """
    height, width = image_size
    levels = []
    for (rows, columns), level_scales in zip(feature_sizes, scales, strict=True):
        shapes = []
        for scale in level_scales:
            for ratio in ratios:
                w = scale * sqrt(ratio) / width
                h = scale * sqrt(ratio) / height if square else scale / sqrt(ratio) / height
                shapes.append((w, h))
        cy = (torch.arange(rows, dtype=torch.float64) + 0.5) / rows
        cx = (torch.arange(columns, dtype=torch.float64) + 0.5) / columns
        centers = torch.stack(torch.meshgrid(cx, cy, indexing="xy"), dim=-1)  # (rows, columns, 2)
        sizes = torch.tensor(shapes, dtype=torch.float64)  # (anchors per cell, 2)
        level = torch.cat(
            (
                centers[:, :, None, :].expand(-1, -1, len(shapes), -1),
                sizes.expand(rows, columns, -1, -1),
            ),
            dim=-1,
        )
        levels.append(level.reshape(-1, 4))
    return torch.cat(levels).float()
