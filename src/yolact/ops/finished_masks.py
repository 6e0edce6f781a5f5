"""From prototypes and coefficients to finished masks in the picture (spec 4.2), without big arrays.

The pixels are those of the plain path (``processing/reference.py``): assemble, crop, resize, cut at one
half. But work is done in the boxes only, and only for the pixels along one axis. Between two cells,
one above the other, a resized mask is a straight line and crosses one half once at most. So the values
at the height of the cells, for each column of pixels, are enough to know where the mask begins and ends.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from yolact.config.detection import Crop
from yolact.ops.boxes import WHOLE_INPUT, Region, grow_boxes
from yolact.ops.masks import assemble_masks, confine_masks, crop_bounds, distances_outside
from yolact.ops.runs import MaskRuns, join_runs

_AT_ONCE = 2**20  # values in one array: what a processor's cache holds, if it is a large one
_AT_ONCE_ON_DEVICE = 2**25


def finish_masks(
    prototypes: Tensor,
    coefficients: Tensor,
    boxes: Tensor,
    image_size: tuple[int, int],
    *,
    region: Region = WHOLE_INPUT,
    crop: Crop = "hard",
    crop_margin: float = 0.0,
) -> list[MaskRuns]:
    """Masks of all objects of a picture, as the plain path has them, but for rounding.

    A box that is nowhere (of a network that diverged) has an empty mask.

    Args:
        prototypes: (k, h, w).
        coefficients: (N, k).
        boxes: (N, 4) x1 y1 x2 y2 as fractions of the network's input.
        image_size: (height, width) of the picture.
        region: Which part of the network's input shows the picture.
        crop: Where masks end, see :class:`yolact.config.detection.DetectionConfig`.
        crop_margin: In fractions of the box's sides.
    """
    _, h, w = prototypes.shape
    x1, y1, x2, y2 = region
    rows, columns = _Axis(h, image_size[0], y1, y2), _Axis(w, image_size[1], x1, x2)
    find = _changes_in_boxes if prototypes.device.type == "cpu" else changes_on_device
    parts = find(
        prototypes.detach().float(),
        coefficients.detach().float(),
        boxes.detach().float(),
        rows,
        columns,
        crop,
        crop_margin,
    )
    return [mask for part in parts for mask in _runs(part, rows)]


class _Axis:
    """A 1-D bilinear resize with half-pixel centres, of a part of the cells to pixels.

    Positions are computed in float32, step by step as torch does: where a mask ends at its box, a
    whole row of pixels may lie exactly half-way between two cells, and the last bit decides.
    """

    def __init__(self, cells: int, pixels: int, near: float, far: float) -> None:
        """The pixels lie side by side from ``near`` to ``far``, fractions of all cells."""
        self.cells, self.pixels = cells, pixels
        self._step = (far - near) * cells / pixels
        self._start = near * cells - 0.5
        centres = np.arange(pixels, dtype=np.float32) + np.float32(0.5)
        positions = centres * np.float32(self._step) + np.float32(self._start)
        self.positions: NDArray[np.float32] = positions.clip(0, cells - 1)
        """(pixels,) of the pixels' centres, in cells; those beyond the last cell lie on it."""
        self._bounded = np.concatenate(([-np.inf], self.positions, [np.inf]))

    def reach(
        self, first: NDArray[np.int64], last: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Pixels, end excluded, that get something of cells ``first`` to ``last``, end excluded."""
        return (
            np.searchsorted(self.positions, first - 1, side="right"),
            np.searchsorted(self.positions, last, side="left"),
        )

    def first_from(self, places: NDArray[np.float64]) -> NDArray[np.int64]:
        """The first pixel at each place, in cells, or behind it; ``pixels`` where there is none."""
        pixels = np.ceil((places - self._start) / self._step - 0.5)
        pixels[places < 0] = 0
        pixels[places > self.cells - 1] = self.pixels
        found = pixels.clip(0, self.pixels).astype(np.int64)
        # Right so far, or the next to it.
        found += self._bounded[found + 1] < places
        found -= self._bounded[found] >= places
        return found


class _Changes(NamedTuple):
    """Where masks begin and end along the columns of pixels: those of one object after the other's.

    In a column every beginning is followed by its end. Each lies between two cells.
    """

    counts: NDArray[np.int64]
    """(N,) beginnings and ends of each object."""
    columns: NDArray[np.int64]
    """(E,) of pixels."""
    cells: NDArray[np.int64]
    """(E,) row of the second of the two cells, 0 … h; there is none above 0, and h is none."""
    before: NDArray[np.float32]
    """(E,) value at the first cell; 0 where there is none, or beyond the crop."""
    after: NDArray[np.float32]
    """(E,) value at the second cell."""


class _Windows(NamedTuple):
    """Cells of each object that can be above zero, ends excluded, and the pixels they reach."""

    c0: NDArray[np.int64]
    c1: NDArray[np.int64]
    r0: NDArray[np.int64]
    r1: NDArray[np.int64]
    x0: NDArray[np.int64]
    x1: NDArray[np.int64]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """How many values of each object there are to look at.

        For each column of pixels, one after the other, there is one at the height of each row of
        cells, and a zero, which keeps it apart from the next column.
        """
        return (self.x1 - self.x0) * (self.r1 - self.r0 + 1)


def _runs(changes: _Changes, rows: _Axis) -> list[MaskRuns]:
    before = changes.before.astype(np.float64)
    places = (0.5 - before) / (changes.after - before) + (changes.cells - 1)
    # A pixel that lies at one half exactly is background: a mask begins behind the place.
    places[::2] = np.nextafter(places[::2], np.inf)
    edges = rows.first_from(places)
    return join_runs(changes.columns[::2], edges[::2], edges[1::2], changes.counts // 2)


def _changes_in_boxes(
    prototypes: Tensor,
    coefficients: Tensor,
    boxes: Tensor,
    rows: _Axis,
    columns: _Axis,
    crop: Crop,
    crop_margin: float,
) -> Iterator[_Changes]:
    """For a processor: each object has a window of its own."""
    everything = _windows(boxes, rows, columns, crop, crop_margin)
    count, height, width = prototypes.shape
    # The values of a cell side by side, which is how convolutions with channels last leave them.
    cells = np.ascontiguousarray(prototypes.numpy().reshape(count, -1).T)
    cells = cells.reshape(height, width, count).transpose(1, 0, 2)
    fading = None
    if crop == "soft":
        outside = distances_outside(boxes, rows.cells, columns.cells, crop_margin)
        fading = outside[0].numpy(), outside[1].numpy()
    for part in _parts(everything.sizes, _AT_ONCE):
        windows = _Windows(*(bounds[part] for bounds in everything))
        blocks = _soft_windows(cells, coefficients[part].numpy(), windows)
        if fading is not None:
            for block, x, y, c0, c1, r0, r1, *_ in zip(
                blocks, fading[0][part], fading[1][part], *windows, strict=True
            ):
                farther = np.maximum(x[c0:c1, None], y[None, r0:r1])
                block[1:-1, :-1] *= (1 - farther).clip(0, 1)
        values = _spread(blocks, windows, columns)
        is_inside = values > 0.5
        places = np.flatnonzero(is_inside[1:] != is_inside[:-1]) + 1
        yield _located(places - 1, values[places - 1], values[places], windows)


def _windows(
    boxes: Tensor, rows: _Axis, columns: _Axis, crop: Crop, crop_margin: float
) -> _Windows:
    if crop == "none":
        boxes = boxes.new_tensor(WHOLE_INPUT).expand_as(boxes)
    bounds = crop_bounds(grow_boxes(boxes, crop_margin), rows.cells, columns.cells).numpy()
    nowhere = ~np.isfinite(bounds).all(axis=1)
    limits = np.array((columns.cells, rows.cells) * 2)
    left, top, right, bottom = np.ceil(bounds.clip(0, limits)).T
    nowhere |= (right <= left) | (bottom <= top)
    c0, c1, r0, r1 = (
        np.where(nowhere, 0, edge).astype(np.int64) for edge in (left, right, top, bottom)
    )
    x0, x1 = columns.reach(c0, c1)
    return _Windows(c0, c1, r0, r1, x0, np.where(nowhere, x0, np.maximum(x0, x1)))


def _parts(sizes: NDArray[np.int64], limit: int) -> Iterator[slice]:
    """Objects in order, about so many values at a time, of one object at least."""
    groups = sizes.cumsum() // limit
    edges = np.flatnonzero(np.diff(groups, prepend=-1, append=groups[-1:] + 1))
    for first, stop in pairwise(edges.tolist()):
        yield slice(first, stop)


def _soft_windows(
    cells: NDArray[np.float32], coefficients: NDArray[np.float32], windows: _Windows
) -> list[NDArray[np.float32]]:
    """Probabilities in the window of each object, with zeros around it.

    Args:
        cells: (w, h, k) prototypes.
        coefficients: (N, k).
        windows: N of them.

    Returns:
        (columns + 2, rows + 1) each: a column of zeros on either side, and a row of zeros below,
        which is also the one above when columns are read one after the other.
    """
    shapes = np.stack((windows.c1 - windows.c0 + 2, windows.r1 - windows.r0 + 1), axis=1)
    soft = np.full(shapes.prod(axis=1).sum(), -np.inf, dtype=np.float32)
    blocks, used = [], 0
    with np.errstate(all="ignore"):  # a network that diverged multiplies infinities
        for shape, weights, c0, c1, r0, r1 in zip(
            shapes.tolist(), coefficients, *(bounds.tolist() for bounds in windows[:4]), strict=True
        ):
            size = shape[0] * shape[1]
            block = soft[used : used + size].reshape(shape)
            np.matmul(cells[c0:c1, r0:r1], weights, out=block[1:-1, :-1])
            blocks.append(block)
            used += size
    torch.sigmoid_(torch.from_numpy(soft))
    np.fmax(soft, 0, out=soft)  # what is not a number is no object
    return blocks


def _spread(
    blocks: list[NDArray[np.float32]], windows: _Windows, columns: _Axis
) -> NDArray[np.float32]:
    """Values of every column of pixels at the height of the cells, one object after the other.

    Returns:
        A zero, and then the values of each object as told at :attr:`_Windows.sizes`.
    """
    lower = columns.positions.astype(np.int64)
    share = (columns.positions - lower)[:, None]
    sizes = windows.sizes
    values = np.zeros(1 + sizes.sum(), dtype=np.float32)
    used = 1
    for block, size, c0, x0, x1 in zip(
        blocks,
        *(bounds.tolist() for bounds in (sizes, windows.c0, windows.x0, windows.x1)),
        strict=True,
    ):
        near = lower[x0:x1] - (c0 - 1)
        pixels = values[used : used + size].reshape(x1 - x0, block.shape[1])
        np.take(block, near, axis=0, out=pixels, mode="clip")
        step = np.take(block[1:] - block[:-1], near, axis=0, mode="clip")
        step *= share[x0:x1]
        pixels += step
        used += size
    return values


def changes_on_device(
    prototypes: Tensor,
    coefficients: Tensor,
    boxes: Tensor,
    rows: _Axis,
    columns: _Axis,
    crop: Crop,
    crop_margin: float,
) -> Iterator[_Changes]:
    """For a GPU: one step for all objects and all cells. Only the changes leave the device."""
    device = prototypes.device
    positions = torch.from_numpy(columns.positions).to(device)
    lower = positions.long()
    upper, share = (lower + 1).clamp(max=columns.cells - 1), (positions - lower)[:, None]
    size = columns.pixels * (rows.cells + 1)
    for part in _parts(np.full(len(boxes), size), _AT_ONCE_ON_DEVICE):
        soft = assemble_masks(prototypes, coefficients[part]).nan_to_num(0.0)
        soft, _ = confine_masks(soft, boxes[part], crop, crop_margin)
        cells = F.pad(soft.transpose(1, 2), (0, 1))  # a zero below each column
        pixels = torch.lerp(cells[:, lower], cells[:, upper], share).flatten()
        is_inside = F.pad(pixels > 0.5, (1, 0))
        (places,) = (is_inside[1:] != is_inside[:-1]).nonzero(as_tuple=True)
        before, after = torch.stack((pixels[places - 1], pixels[places])).cpu().numpy()
        whole = np.array((0, columns.cells, 0, rows.cells, 0, columns.pixels))
        windows = _Windows(*np.tile(whole[:, None], len(soft)))
        yield _located(places.cpu().numpy(), before, after, windows)


def _located(
    places: NDArray[np.int64],
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    windows: _Windows,
) -> _Changes:
    """Changes by their places in the values of all objects, see :attr:`_Windows.sizes`."""
    stops = windows.sizes.cumsum()
    counts = np.diff(np.searchsorted(places, stops), prepend=0)
    within = places - (stops - windows.sizes).repeat(counts)
    column, row = np.divmod(within, (windows.r1 - windows.r0 + 1).repeat(counts))
    column += windows.x0.repeat(counts)
    row += windows.r0.repeat(counts)
    return _Changes(counts, column, row, before, after)
