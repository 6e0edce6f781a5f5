"""Masks as polygons along the edges of pixels, which COCO's rasteriser turns back exactly.

A pixel at column x and row y covers [x, x + 1) x [y, y + 1), so every corner has whole coordinates.
Filled by the even-odd rule the polygons give the pixels they came from; COCO's rasteriser is such a
rule for one polygon, and gives the union of several.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from yolact.ops.masks import CroppedMask

Loop = NDArray[np.float64]
"""(n, 2) x y corners in pixels; not closed: the last joins the first."""

_AT_ONCE = 64  # loops


@dataclass(frozen=True)
class Outline:
    """One part of a mask: pixels that share sides. Parts that meet in a corner are two."""

    exterior: Loop
    holes: tuple[Loop, ...]


def trace_outlines(mask: CroppedMask) -> list[Outline]:
    """The outlines of every part of a mask, exact, without a point inside a straight side.

    Each begins at the left end of its uppermost side and runs clockwise as seen on screen, holes
    too; none crosses itself. The work grows with the window and the number of corners.
    """
    if not mask.bitmap.any():
        return []
    padded = np.pad(mask.bitmap, 1)
    rows, columns, is_right, is_down = _corners(padded)
    across = _pairs(np.lexsort((is_right, columns, rows))).tolist()
    along = _pairs(np.lexsort((is_down, rows, columns))).tolist()
    points = np.stack((columns + mask.x, rows + mask.y), axis=1).astype(np.float64)
    _, parts = cv2.connectedComponents(padded.astype(np.uint8), connectivity=4)
    exteriors: dict[int, Loop] = {}
    holes: dict[int, list[Loop]] = {}
    is_done = [False] * len(points)
    # In reading order, so that a loop starts at the left end of its uppermost side.
    for start in np.lexsort((is_right, columns, rows)).tolist():
        if is_done[start]:
            continue
        loop, node = [], start
        while not is_done[node]:
            turn = across[node]
            is_done[node] = is_done[turn] = True
            loop += [node, turn]
            node = along[turn]
        row, column = int(rows[start]), int(columns[start])
        if below := int(parts[row + 1, column + 1]):
            exteriors[below] = points[loop]
        else:
            holes.setdefault(int(parts[row, column + 1]), []).append(points[loop])
    return [Outline(loop, tuple(holes.get(part, ()))) for part, loop in exteriors.items()]


def join_loops(loops: Sequence[Loop]) -> Loop:
    """One polygon for several, by bridges without width that are walked there and back.

    By the even-odd rule it covers what the loops together cover, because a side walked twice does
    not count. Each loop is tied to the nearest corner of those before it, of many loops in groups.
    """
    if len(loops) > _AT_ONCE:  # by groups, so that the work does not grow with their square
        groups = [loops[i : i + _AT_ONCE] for i in range(0, len(loops), _AT_ONCE)]
        return join_loops([join_loops(group) for group in groups])
    joined = loops[0]
    for loop in loops[1:]:
        nearest = int(((joined - loop[0]) ** 2).sum(axis=1).argmin())
        is_touching = bool((joined[nearest] == loop[0]).all())
        there_and_back = (loop[1:],) if is_touching else (loop, loop[:1])
        joined = np.concatenate((joined[: nearest + 1], *there_and_back, joined[nearest:]))
    return joined


def _corners(
    padded: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Row and column of each corner, and whether its sides go right (else left), down (else up).

    Where two pixels meet in a corner only, there are two corners at one place, one of each pixel.
    """
    upper_left, upper_right = padded[:-1, :-1], padded[:-1, 1:]
    lower_left, lower_right = padded[1:, :-1], padded[1:, 1:]
    is_turn = upper_left ^ upper_right ^ lower_left ^ lower_right
    is_meeting = (upper_left == lower_right) & (upper_right == lower_left)
    rows, columns = np.nonzero(is_turn)
    goes_right = (upper_right ^ lower_right)[rows, columns]
    goes_down = (lower_left ^ lower_right)[rows, columns]
    pieces = [(rows, columns, goes_right, goes_down)]
    for is_here, sides in (
        (is_meeting & upper_left & ~upper_right, ((False, False), (True, True))),
        (is_meeting & upper_right & ~upper_left, ((True, False), (False, True))),
    ):
        rows, columns = np.nonzero(is_here)
        pieces += [
            (rows, columns, np.full(len(rows), right), np.full(len(rows), down))
            for right, down in sides
        ]
    rows, columns, is_right, is_down = (np.concatenate(part) for part in zip(*pieces, strict=True))
    return rows, columns, is_right, is_down


def _pairs(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """The other end of each corner's side, if two after the other are the ends of one."""
    partner = np.empty_like(order)
    partner[order[0::2]], partner[order[1::2]] = order[1::2], order[0::2]
    return partner
