"""Masks: assembling, cropping, resizing. The one implementation for loss, inference and export."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from yolact.config.detection import Crop
from yolact.ops.boxes import WHOLE_INPUT, Region, grow_boxes


class CroppedMask(NamedTuple):
    """A binary mask stored only where it can be true."""

    x: int
    """Column of the crop's left edge in the image."""
    y: int
    """Row of the crop's top edge in the image."""
    bitmap: NDArray[np.bool_]
    """(height, width) of the crop."""


def trim_mask(mask: CroppedMask) -> CroppedMask:
    """Drop the empty rows and columns around a mask."""
    rows = np.flatnonzero(mask.bitmap.any(axis=1))
    if not len(rows):
        return CroppedMask(0, 0, np.zeros((0, 0), dtype=np.bool_))
    columns = np.flatnonzero(mask.bitmap.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    # A copy: a view would keep the larger bitmap alive.
    window = mask.bitmap[y : rows[-1] + 1, x : columns[-1] + 1].copy()
    return CroppedMask(mask.x + x, mask.y + y, window)


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
        return masks, boxes.new_tensor(WHOLE_INPUT).expand_as(boxes)
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
    masks: Tensor,
    boxes: Tensor,
    image_size: tuple[int, int],
    threshold: float = 0.5,
    *,
    region: Region = WHOLE_INPUT,
) -> list[CroppedMask]:
    """Upsample cropped soft masks to the image and binarise them, touching only what can be true.

    Gives the same pixels as ``resize_masks(masks, image_size) > threshold`` after ``crop_masks``,
    if the image fills the input. Else the centre of every pixel of the image is looked up where it
    lies in the input. Bilinear resizing is separable, hence ``rows @ mask @ columns.T`` with two
    small matrices, and a window of the result needs only a window of each.

    Args:
        masks: (N, h, w) probabilities, already cropped.
        boxes: (N, 4) x1 y1 x2 y2 as fractions: where the masks end, give or take a cell.
        image_size: (height, width) of the image.
        threshold: Above it a pixel belongs to the object.
        region: Which part of the masks shows the image.
    """
    _, h, w = masks.shape
    x1, y1, x2, y2 = region
    rows = _Axis(h, image_size[0], y1, y2)
    columns = _Axis(w, image_size[1], x1, x2)
    soft = masks.detach().float().cpu().numpy()
    bounds = crop_bounds(boxes.detach().float().cpu(), h, w).numpy()
    return [
        _binarize_window(mask, edges, rows, columns, threshold)
        for mask, edges in zip(soft, bounds, strict=True)
    ]


def _binarize_window(
    mask: NDArray[np.float32],
    edges: NDArray[np.float32],
    rows: "_Axis",
    columns: "_Axis",
    threshold: float,
) -> CroppedMask:
    if not np.isfinite(edges).all():  # a network that diverged has boxes nowhere
        return CroppedMask(0, 0, np.zeros((0, 0), dtype=np.bool_))
    c0, c1 = max(int(np.floor(edges[0])), 0), min(int(np.ceil(edges[2])), columns.cells)
    r0, r1 = max(int(np.floor(edges[1])), 0), min(int(np.ceil(edges[3])), rows.cells)
    x0, x1 = columns.reach(c0, c1)
    y0, y1 = rows.reach(r0, r1)
    if c1 <= c0 or r1 <= r0 or x1 <= x0 or y1 <= y0:
        return CroppedMask(0, 0, np.zeros((0, 0), dtype=np.bool_))
    window = rows.matrix[y0:y1, r0:r1] @ mask[r0:r1, c0:c1] @ columns.matrix[x0:x1, c0:c1].T
    return CroppedMask(x0, y0, window > threshold)


class _Axis:
    """A 1-D bilinear resize with half-pixel centres, of a part of the cells to pixels."""

    def __init__(self, cells: int, pixels: int, near: float, far: float) -> None:
        """The pixels lie side by side from ``near`` to ``far``, fractions of all cells."""
        self.cells = cells
        self._pixels = pixels
        self._start, self._span = near * cells, (far - near) * cells
        position = (np.arange(pixels, dtype=np.float32) + np.float32(0.5)) * np.float32(
            self._span / pixels
        ) + np.float32(self._start - 0.5)
        position = np.maximum(position, 0)
        lower = np.minimum(position.astype(np.int64), cells - 1)
        upper = np.minimum(lower + 1, cells - 1)
        share = (position - lower).astype(np.float32)
        self.matrix: NDArray[np.float32] = np.zeros((pixels, cells), dtype=np.float32)
        """(pixels, cells)."""
        each = np.arange(pixels)
        self.matrix[each, lower] += 1 - share
        self.matrix[each, upper] += share

    def reach(self, first: int, last: int) -> tuple[int, int]:
        """Pixels, end excluded, that cells ``first`` to ``last``, end excluded, can touch."""
        # A cell reaches one cell further than itself when it is spread bilinearly.
        near = (first - 1 - self._start) * self._pixels / self._span
        far = (last + 1 - self._start) * self._pixels / self._span
        return max(int(near), 0), min(int(np.ceil(far)), self._pixels)
