"""Binary masks as run lengths of the smallest window that holds them: small, quick to open, exact.

The runs go down the columns, as COCO's do. A smooth outline crosses a column twice, so a mask takes
some four bytes for each of its columns, where a bitmap takes one for each of its pixels.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from yolact.ops.masks import CroppedMask


class MaskRuns(NamedTuple):
    """A binary mask. One without pixels has no window: 0 x 0 at 0, 0."""

    x: int
    """Column of the window's left edge in the image."""
    y: int
    """Row of the window's top edge in the image."""
    height: int
    width: int
    lengths: NDArray[np.unsignedinteger]
    """Of the runs of 0, 1, 0, 1, … down the columns of the window, in the smallest unsigned integers
    that hold them; the zeros after the last pixel are left out. A run of ones ends where its column
    ends, so between two of them may lie a run of no zeros."""


def empty_runs() -> MaskRuns:
    """The mask without pixels."""
    return MaskRuns(0, 0, 0, 0, np.zeros(0, dtype=np.uint8))


def join_runs(
    columns: NDArray[np.int64],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> list[MaskRuns]:
    """Masks from the runs of ones of several objects, one object after the other.

    Args:
        columns: (R,) of the image, ascending within an object.
        starts: (R,) first row of each run, ascending within a column.
        ends: (R,) row after the last; a run without pixels, ``ends <= starts``, is left out.
        counts: (N,) runs of each object, those without pixels included.
    """
    stops = counts.cumsum()
    if not (has_pixels := ends > starts).all():
        columns, starts, ends = columns[has_pixels], starts[has_pixels], ends[has_pixels]
        stops = np.append(0, has_pixels.cumsum())[stops]
    counts = np.diff(stops, prepend=0)
    masks = [empty_runs()] * len(counts)
    if not len(columns):
        return masks
    (some,) = counts.nonzero()
    firsts, stops, counts = (stops - counts)[some], stops[some], counts[some]
    left, right = columns[firsts], columns[stops - 1] + 1
    top, bottom = np.minimum.reduceat(starts, firsts), np.maximum.reduceat(ends, firsts)
    height = bottom - top
    column_starts = columns * height.repeat(counts) - (left * height + top).repeat(counts)
    edges = np.stack((column_starts + starts, column_starts + ends), axis=1)
    lengths = np.diff(edges.ravel(), prepend=0)
    lengths[2 * firsts] = edges[firsts, 0]
    lengths = lengths.astype(np.min_scalar_type(int(lengths.max())))
    windows = np.stack((left, top, height, right - left, 2 * firsts, 2 * stops), axis=1)
    for index, (x, y, rows, width, first, stop) in zip(
        some.tolist(), windows.tolist(), strict=True
    ):
        # A copy: a view would keep the runs of all objects alive.
        masks[index] = MaskRuns(x, y, rows, width, lengths[first:stop].copy())
    return masks


def pack_mask(mask: CroppedMask) -> MaskRuns:
    """The runs of a bitmap."""
    rows, columns = mask.bitmap.shape
    # A row of zeros below, and a zero before all, so that each run begins and ends in its column.
    padded = np.zeros(columns * (rows + 1) + 1, dtype=np.bool_)
    padded[1:].reshape(columns, rows + 1)[:, :rows] = mask.bitmap.T
    changes = np.flatnonzero(padded[1:] != padded[:-1])
    column, starts = np.divmod(changes[::2], rows + 1)
    ends = starts + changes[1::2] - changes[::2]
    (runs,) = join_runs(column + mask.x, starts + mask.y, ends + mask.y, np.array([len(starts)]))
    return runs


def unpack_mask(runs: MaskRuns) -> CroppedMask:
    """The smallest bitmap with all pixels of a mask."""
    bitmap = np.zeros((runs.height, runs.width), dtype=np.bool_)
    if len(runs.lengths):
        _write(runs, bitmap)
    return CroppedMask(runs.x, runs.y, bitmap)


def paste_mask(runs: MaskRuns, bitmap: NDArray[np.bool_]) -> None:
    """Write the window of a mask over that of a bitmap (H, W) of the image."""
    if len(runs.lengths):
        _write(runs, bitmap[runs.y : runs.y + runs.height, runs.x : runs.x + runs.width])


def run_edges(runs: MaskRuns) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each run of ones starts and ends, counted down the columns of the window."""
    edges = runs.lengths.cumsum(dtype=np.int64)
    return edges[::2], edges[1::2]


def mask_area(runs: MaskRuns) -> int:
    """Number of pixels."""
    return int(runs.lengths[1::2].sum(dtype=np.int64))


def _write(runs: MaskRuns, window: NDArray[np.bool_]) -> None:
    size = runs.height * runs.width
    lengths = np.append(runs.lengths, size - runs.lengths.sum(dtype=np.int64))
    values = np.zeros(len(lengths), dtype=np.uint8)
    values[1::2] = 1
    columns = values.repeat(lengths).reshape(runs.width, runs.height)
    # OpenCV transposes several times faster than NumPy.
    cv2.transpose(columns, dst=window.view(np.uint8))
