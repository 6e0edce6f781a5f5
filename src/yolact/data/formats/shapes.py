"""Shapes that annotation tools know, as COCO's segmentations. Points are x y in pixels."""

import math
from collections.abc import Sequence
from typing import Any

from faster_coco_eval.core import mask as coco_mask

from yolact.data.coco import to_rle
from yolact.ops.masks import CroppedMask
from yolact.ops.rle import crop_to_rle

_CORNERS = 72  # of a round shape; its polygon misses a thousandth of the radius


def rectangle(x1: float, y1: float, x2: float, y2: float, degrees: float = 0.0) -> list[float]:
    """Four corners, turned clockwise about the middle."""
    corners = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
    return _turned(corners, ((x1 + x2) / 2, (y1 + y2) / 2), degrees)


def ellipse(
    x: float, y: float, radius_x: float, radius_y: float, degrees: float = 0.0
) -> list[float]:
    """A polygon on the outline, turned clockwise about the centre."""
    angles = (2 * math.pi * i / _CORNERS for i in range(_CORNERS))
    points = [(x + radius_x * math.cos(a), y + radius_y * math.sin(a)) for a in angles]
    return _turned(points, (x, y), degrees)


def bitmap(mask: CroppedMask, size: tuple[int, int]) -> dict[str, Any]:
    """A window of pixels as an RLE.

    Raises:
        ValueError: If it does not lie inside the picture of this (height, width).
    """
    rows, columns = mask.bitmap.shape
    if min(mask.x, mask.y) < 0 or mask.y + rows > size[0] or mask.x + columns > size[1]:
        raise ValueError("the mask does not lie inside the picture")
    return dict(crop_to_rle(mask, size))


def union(parts: Sequence[Any], size: tuple[int, int]) -> Any:
    """One segmentation for the parts of an object: polygons stay polygons.

    Raises:
        ValueError: If bitmaps and polygons come together and one polygon cannot be read.
    """
    if all(isinstance(part, list) for part in parts):
        return [polygon for part in parts for polygon in part]
    if len(parts) == 1:
        return parts[0]
    merged = coco_mask.merge([to_rle(part, *size) for part in parts])
    return {"size": list(size), "counts": merged["counts"].decode("ascii")}


def _turned(
    points: list[tuple[float, float]], centre: tuple[float, float], degrees: float
) -> list[float]:
    if degrees == 0:
        return [value for point in points for value in point]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return [
        value
        for x, y in ((x - centre[0], y - centre[1]) for x, y in points)
        for value in (centre[0] + x * cos - y * sin, centre[1] + x * sin + y * cos)
    ]
