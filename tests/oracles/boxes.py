"""Boxes as plain tuples x1 y1 x2 y2 of Python floats."""

from math import nan

Box = tuple[float, float, float, float]


def corners(anchor: Box) -> Box:
    cx, cy, w, h = anchor
    return cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2


def area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def intersection(a: Box, b: Box) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return width * height if width > 0 and height > 0 else 0.0


def iou(a: Box, b: Box) -> float:
    shared = intersection(a, b)
    union = area(a) + area(b) - shared
    return shared / union if union else nan
