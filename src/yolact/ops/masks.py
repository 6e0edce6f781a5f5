"""Masks: assembling, cropping, resizing. The one implementation for loss, inference and export."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from yolact.config.detection import Crop
from yolact.ops.boxes import WHOLE_INPUT, grow_boxes


class CroppedMask(NamedTuple):
    """A binary mask stored only where it can be true."""

    x: int
    """Column of the crop's left edge in the image."""
    y: int
    """Row of the crop's top edge in the image."""
    bitmap: NDArray[np.bool_]
    """(height, width) of the crop."""


def assemble_masks(prototypes: Tensor, coefficients: Tensor) -> Tensor:
    """Combine prototypes into one mask per instance (YOLACT paper, "Mask Assembly").

    Args:
        prototypes: (…, k, h, w), non-negative in the published models.
        coefficients: (…, N, k) in [-1, 1].

    Returns:
        (…, N, h, w) probabilities: the sigmoid of the linear combination.
    """
    return torch.sigmoid(torch.einsum("...nk,...khw->...nhw", coefficients, prototypes))


def crop_bounds(boxes: Tensor, height: int, width: int, padding: float = 1.0) -> Tensor:
    """Where a mask may be non-zero, in cells of an ``height`` x ``width`` grid (spec 4.2).

    The corners may come in either order. Edges are clamped to the grid on their own side only and
    never rounded.

    Args:
        boxes: (N, 4) x1 y1 x2 y2 as fractions.
        height: Rows of the grid.
        width: Columns of the grid.
        padding: Cells added on every side.

    Returns:
        (N, 4) left, top, right, bottom; a cell at column c is inside when left <= c < right.
    """
    scale = boxes.new_tensor((width, height, width, height))
    edges = boxes * scale
    near = torch.minimum(edges[:, :2], edges[:, 2:]) - padding
    far = torch.maximum(edges[:, :2], edges[:, 2:]) + padding
    return torch.cat((near.clamp(min=0), torch.minimum(far, scale[:2])), dim=1)


def crop_masks(masks: Tensor, boxes: Tensor, padding: float = 1.0) -> Tensor:
    """Set masks ``(N, h, w)`` to zero outside their boxes ``(N, 4)``, given as fractions."""
    _, height, width = masks.shape
    left, top, right, bottom = crop_bounds(boxes, height, width, padding).T[:, :, None, None]
    columns = torch.arange(width, device=boxes.device, dtype=boxes.dtype)[None, None, :]
    rows = torch.arange(height, device=boxes.device, dtype=boxes.dtype)[None, :, None]
    inside: Tensor = ((columns >= left) & (columns < right)) & ((rows >= top) & (rows < bottom))
    return masks * inside


def fade_masks(masks: Tensor, boxes: Tensor, margin: float, padding: float = 1.0) -> Tensor:
    """Let masks fade out around their boxes, where :func:`crop_masks` ends them at once.

    Args:
        masks: (N, h, w) probabilities.
        boxes: (N, 4) as fractions.
        margin: Outside of its box a mask falls linearly, and is zero from this fraction of the
            box's side on. In a corner the direction counts in which the cell is farther out.
        padding: Cells around the box that still count as inside.
    """
    _, height, width = masks.shape
    across, down = distances_outside(boxes, height, width, margin, padding)
    farther = torch.maximum(across[:, None, :], down[:, :, None])
    return masks * (1 - farther).clamp(0, 1)


def distances_outside(
    boxes: Tensor, height: int, width: int, margin: float, padding: float = 1.0
) -> tuple[Tensor, Tensor]:
    """How far each column (N, w) and each row (N, h) of a grid lies outside of boxes, in margins.

    Arguments as of :func:`fade_masks`. Inside of a box the distance is below zero.
    """
    left, top, right, bottom = crop_bounds(boxes, height, width, padding).T[:, :, None]
    columns = torch.arange(width, device=boxes.device, dtype=boxes.dtype)
    rows = torch.arange(height, device=boxes.device, dtype=boxes.dtype)
    cells = (boxes[:, 2:] - boxes[:, :2]).abs() * boxes.new_tensor((width, height)) * margin
    # A box without a side has no margin: nothing must be divided by zero, and the rest is far out.
    reach_x, reach_y = cells.clamp(min=1e-6).T[:, :, None]
    return (
        torch.maximum(left - columns, columns - right) / reach_x,
        torch.maximum(top - rows, rows - bottom) / reach_y,
    )


def confine_masks(masks: Tensor, boxes: Tensor, crop: Crop, margin: float) -> tuple[Tensor, Tensor]:
    """End masks around their boxes in one of three ways (spec 4.2 has ``hard`` without margin).

    Args:
        masks: (N, h, w) probabilities.
        boxes: (N, 4) as fractions.
        crop: ``hard``, ``soft`` or ``none``; see :class:`yolact.config.detection.DetectionConfig`.
        margin: Fraction of the box's sides.

    Returns:
        The masks, and (N, 4) the boxes they end at.
    """
    if crop == "none":
        return masks, boxes.new_tensor(WHOLE_INPUT).expand_as(boxes)
    reach = grow_boxes(boxes, margin)
    if crop == "soft":
        masks = fade_masks(masks, boxes, margin)
    return crop_masks(masks, reach), reach


def resize_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resize of ``(N, h, w)`` float masks to ``size``, half-pixel centres."""
    if masks.shape[-2:] == size:
        return masks
    resized: Tensor = F.interpolate(masks[None], size, mode="bilinear", align_corners=False)
    return resized[0]
