"""Masks: assembling, cropping, resizing. The one implementation for loss, inference and export."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from yolact.config.detection import Crop
from yolact.ops.boxes import grow_boxes


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
        prototypes: (k, h, w), non-negative in the published models.
        coefficients: (N, k) in [-1, 1].

    Returns:
        (N, h, w) probabilities: the sigmoid of the linear combination.
    """
    return torch.sigmoid(torch.einsum("nk,khw->nhw", coefficients, prototypes))


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
    columns, rows = _cells(height, width, boxes)
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
    left, top, right, bottom = crop_bounds(boxes, height, width, padding).T[:, :, None, None]
    columns, rows = _cells(height, width, boxes)
    cells = (boxes[:, 2:] - boxes[:, :2]).abs() * boxes.new_tensor((width, height)) * margin
    # A box without a side has no margin: nothing must be divided by zero, and the rest is far out.
    reach_x, reach_y = cells.clamp(min=1e-6).T[:, :, None, None]
    outside_x = torch.maximum(left - columns, columns - right) / reach_x
    outside_y = torch.maximum(top - rows, rows - bottom) / reach_y
    return masks * (1 - torch.maximum(outside_x, outside_y)).clamp(0, 1)


def confine_masks(masks: Tensor, boxes: Tensor, crop: Crop, margin: float) -> tuple[Tensor, Tensor]:
    """End masks around their boxes in one of three ways (spec 4.2 has ``hard`` without margin).

    Args:
        masks: (N, h, w) probabilities.
        boxes: (N, 4) as fractions.
        crop: ``hard``, ``soft`` or ``none``; see :class:`yolact.config.detection.DetectionConfig`.
        margin: Fraction of the box's sides.

    Returns:
        The masks, and (N, 4) the boxes they end at, for :func:`binarize_in_image`.
    """
    if crop == "none":
        return masks, boxes.new_tensor((0.0, 0.0, 1.0, 1.0)).expand_as(boxes)
    reach = grow_boxes(boxes, margin)
    if crop == "soft":
        masks = fade_masks(masks, boxes, margin)
    return crop_masks(masks, reach), reach


def _cells(height: int, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Columns (1, 1, w) and rows (1, h, 1) of a grid."""
    columns = torch.arange(width, device=like.device, dtype=like.dtype)[None, None, :]
    rows = torch.arange(height, device=like.device, dtype=like.dtype)[None, :, None]
    return columns, rows


def resize_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resize of ``(N, h, w)`` float masks to ``size``, half-pixel centres."""
    if masks.shape[-2:] == size:
        return masks
    resized: Tensor = F.interpolate(masks[None], size, mode="bilinear", align_corners=False)
    return resized[0]


def binarize_in_image(
    masks: Tensor, boxes: Tensor, image_size: tuple[int, int], threshold: float = 0.5
) -> list[CroppedMask]:
    """Upsample cropped soft masks to the image and binarise them, touching only what can be true.

    Gives the same pixels as ``resize_masks(masks, image_size) > threshold`` after ``crop_masks``.
    Bilinear resizing is separable, hence ``rows @ mask @ columns.T`` with two small matrices, and
    a window of the result needs only a window of each.

    Args:
        masks: (N, h, w) probabilities, already cropped.
        boxes: (N, 4) x1 y1 x2 y2 as fractions: where the masks end, give or take a cell.
        image_size: (height, width) of the image.
        threshold: Above it a pixel belongs to the object.
    """
    _, h, w = masks.shape
    rows = _interpolation_matrix(h, image_size[0])
    columns = _interpolation_matrix(w, image_size[1])
    soft = masks.detach().float().cpu().numpy()
    bounds = crop_bounds(boxes.detach().float().cpu(), h, w).numpy()
    return [
        _binarize_window(mask, edges, rows, columns, threshold)
        for mask, edges in zip(soft, bounds, strict=True)
    ]


def _binarize_window(
    mask: NDArray[np.float32],
    edges: NDArray[np.float32],
    rows: NDArray[np.float32],
    columns: NDArray[np.float32],
    threshold: float,
) -> CroppedMask:
    (height, h), (width, w) = rows.shape, columns.shape
    if not np.isfinite(edges).all():  # a network that diverged has boxes nowhere
        return CroppedMask(0, 0, np.zeros((0, 0), dtype=np.bool_))
    c0, c1 = max(int(np.floor(edges[0])), 0), min(int(np.ceil(edges[2])), w)
    r0, r1 = max(int(np.floor(edges[1])), 0), min(int(np.ceil(edges[3])), h)
    if c1 <= c0 or r1 <= r0:
        return CroppedMask(0, 0, np.zeros((0, 0), dtype=np.bool_))
    # A cell reaches one cell further than itself when it is spread bilinearly.
    x0, x1 = max(int((c0 - 1) * width / w), 0), min(int(np.ceil((c1 + 1) * width / w)), width)
    y0, y1 = max(int((r0 - 1) * height / h), 0), min(int(np.ceil((r1 + 1) * height / h)), height)
    window = rows[y0:y1, r0:r1] @ mask[r0:r1, c0:c1] @ columns[x0:x1, c0:c1].T
    return CroppedMask(x0, y0, window > threshold)


def _interpolation_matrix(source: int, target: int) -> NDArray[np.float32]:
    """(target, source) matrix of a 1-D bilinear resize with half-pixel centres."""
    position = (np.arange(target, dtype=np.float32) + np.float32(0.5)) * np.float32(
        source / target
    ) - np.float32(0.5)
    position = np.maximum(position, 0)
    lower = np.minimum(position.astype(np.int64), source - 1)
    upper = np.minimum(lower + 1, source - 1)
    share = (position - lower).astype(np.float32)
    matrix = np.zeros((target, source), dtype=np.float32)
    each = np.arange(target)
    matrix[each, lower] += 1 - share
    matrix[each, upper] += share
    return matrix
