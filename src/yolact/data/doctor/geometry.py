"""Masks, boxes and areas: readable, in the picture, in agreement with each other."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
from faster_coco_eval.core import mask as coco_mask
from numpy.typing import NDArray

from yolact.data import fields
from yolact.data.coco import read_mask
from yolact.data.doctor.findings import Finding
from yolact.data.doctor.survey import Labelled, Survey, collecting

Box = tuple[float, float, float, float]
"""x1 y1 x2 y2 in pixels."""

EDGE_SLACK = 2.0
"""Pixels by which an edge may be off: tools round outlines, boxes and masks differently."""
EDGE_SLACK_SHARE = 0.03
"""The same as a share of the object's side; the larger of both counts."""
_WRONG_IOU = 0.5
_AREA_SLACK_SHARE = 0.1
_CROSSING_SHARE = 0.05  # of the area that a crossing must add or remove to be worth a word
_CORNERS_SHARE = 0.8  # of the boxes that do not fit as x, y, width, height
_FAR = 1e9  # no picture is that large
_MOST_POINTS = 2000  # of a polygon that is searched for crossings


@dataclass(frozen=True)
class Shape:
    """An object whose mask can be read."""

    labelled: Labelled
    rle: dict[str, Any]
    """Compressed."""
    area: int
    """Pixels of the mask."""
    bounds: Box | None
    """Of the mask's pixels; None if it has none."""
    box: Box | None
    """As given, clipped to the picture; the bounds if none is given, None if it is no box."""


def measure(survey: Survey, findings: list[Finding]) -> list[Shape]:
    """Rasterise every object of a split whose picture has a size.

    Adds to ``findings`` what is wrong with objects one by one.
    """
    shapes = []
    for labelled in survey.objects:
        shape = _measure(labelled, survey.split, findings)
        if shape is not None:
            shapes.append(shape)
    return shapes


def check_boxes(split: str, shapes: Sequence[Shape]) -> list[Finding]:
    """Boxes against masks: given by corners all over the file, elsewhere, or loose."""
    judged = [
        (shape, corners, edges)
        for shape in shapes
        if shape.bounds is not None
        and shape.box is not None
        and (corners := as_numbers(shape.labelled.entry.get("bbox"))) is not None
        and (edges := as_edges(corners)) is not None
    ]
    off = [item for item in judged if not fits_mask(item[2], item[0])]
    as_corners = [item for item in off if fits_mask(item[1], item[0])]
    findings = []
    by_corners = len(as_corners) >= _CORNERS_SHARE * len(off) and 2 * len(as_corners) > len(judged)
    if as_corners and by_corners:
        one = as_corners[0][0].labelled
        text = (
            f"{len(as_corners)} of {len(judged)} boxes fit their masks only if read as x1, y1, x2, "
            f"y2, as {fields.shown(one.entry['bbox'])} of {one.where}."
        )
        findings.append(one.finding("corner-boxes", split, text))
        said = {shape.labelled.index for shape, _, _ in as_corners}
        off = [item for item in off if item[0].labelled.index not in said]
    for shape, corners, edges in off:
        assert shape.bounds is not None
        labelled = shape.labelled
        is_wrong = _iou(edges, shape.bounds) < _WRONG_IOU
        hint = " It would fit as x1, y1, x2, y2." if fits_mask(corners, shape) else ""
        text = (
            f"{labelled.where} has the bbox {fields.shown(labelled.entry['bbox'])}, but its mask "
            f"is at {_as_bbox(shape.bounds)}.{hint}"
        )
        findings.append(labelled.finding("wrong-box" if is_wrong else "loose-box", split, text))
    return findings


def check_areas(split: str, shapes: Iterable[Shape]) -> Iterator[Finding]:
    """Areas against masks."""
    for shape in shapes:
        labelled = shape.labelled
        given = labelled.entry.get("area")
        if is_number(given) and not area_fits(given, shape):
            hint = ""
            bbox = as_numbers(labelled.entry.get("bbox"))
            if bbox is not None and abs(bbox[2] * bbox[3] - given) <= 0.01 * given:
                hint = " It is the area of the box."
            text = f"{labelled.where} has the area {given:g}, but its mask has {shape.area} pixels."
            yield labelled.finding("wrong-area", split, text + hint)


def check_outlines(split: str, shapes: Iterable[Shape]) -> Iterator[Finding]:
    """Polygons: beyond the picture, crossing themselves, smaller than a pixel."""
    for shape in shapes:
        labelled = shape.labelled
        polygons = labelled.entry["segmentation"]
        size = labelled.picture.size
        if not isinstance(polygons, list) or size is None:
            continue
        beyond = distance_outside(polygons, size)
        if beyond > EDGE_SLACK and shape.bounds is not None:
            text = f"{labelled.where} reaches {beyond:.0f} pixels beyond its picture of "
            text += f"{size[1]}x{size[0]} pixels."
            yield labelled.finding("mask-outside", split, text)
        for number, polygon in enumerate(polygons):
            points = np.array(polygon, dtype=np.float64).reshape(-1, 2)
            if len(polygons) > 1 and covers_nothing(points, polygon, size):
                text = f"{labelled.where} has a part, polygon {number}, that covers no pixel."
                yield labelled.finding("tiny-polygon", split, text)
            elif crossing_matters(points, polygon, size):
                text = f"{labelled.where} has an outline, polygon {number}, that crosses itself."
                yield labelled.finding("self-crossing", split, text)


def check_twins(split: str, shapes: Iterable[Shape]) -> Iterator[Finding]:
    """The same mask twice on one picture."""
    first_of: dict[object, list[Shape]] = {}
    for shape in shapes:
        if shape.area == 0:
            continue
        labelled = shape.labelled
        same_place = first_of.setdefault((labelled.picture.image_id, shape.rle["counts"]), [])
        for other in same_place:
            if twins(shape, other):
                text = f"{labelled.where} is the same object as {other.labelled.where}."
                yield labelled.finding("duplicate-object", split, text)
                break
        else:
            for other in same_place[:1]:
                text = f"{labelled.where} has the same mask as {other.labelled.where}, but is of "
                text += "another class, or a crowd."
                yield labelled.finding("same-mask-two-classes", split, text)
            same_place.append(shape)


def twins(a: Shape, b: Shape) -> bool:
    """Whether two objects of one mask are of one class, too."""
    one, other = a.labelled, b.labelled
    return one.category_id == other.category_id and one.is_crowd == other.is_crowd


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether it is a finite number that a picture can have."""
    return type(value) in (int, float) and abs(value) < _FAR


def as_edges(bbox: Box) -> Box | None:
    """COCO's x, y, width, height -> x1 y1 x2 y2; None if a side is negative."""
    x, y, w, h = bbox
    return None if min(w, h) < 0 else (x, y, x + w, y + h)


def fits_mask(edges: Box, shape: Shape) -> bool:
    """Whether a box is the mask's, or its polygons', give or take what tools differ in."""
    size = shape.labelled.picture.size
    if shape.bounds is None or size is None:
        return False
    limits = (size[1], size[0], size[1], size[0])
    clipped = np.clip(edges, 0, limits)
    if _is_near(clipped, np.array(shape.bounds)):
        return True
    segmentation = shape.labelled.entry["segmentation"]
    if not isinstance(segmentation, list):
        return False
    # The tip of a thin polygon covers no pixel.
    points = np.concatenate([np.array(polygon).reshape(-1, 2) for polygon in segmentation])
    outline = np.concatenate((points.min(axis=0), points.max(axis=0)))
    return _is_near(clipped, np.clip(outline, 0, limits))


def area_fits(area: float, shape: Shape) -> bool:
    """Whether an area is the mask's, give or take the pixels of its outline."""
    if shape.bounds is None:
        return True
    x1, y1, x2, y2 = shape.bounds
    return abs(area - shape.area) <= max(_AREA_SLACK_SHARE * shape.area, x2 - x1 + y2 - y1)


def distance_outside(polygons: Sequence[Sequence[float]], size: tuple[int, int]) -> float:
    """Pixels by which polygons leave a picture of (height, width); 0 if they do not."""
    height, width = size
    x = np.concatenate([polygon[0::2] for polygon in polygons])
    y = np.concatenate([polygon[1::2] for polygon in polygons])
    return float(max(-x.min(), x.max() - width, -y.min(), y.max() - height, 0))


def polygon_reach(segmentation: Any) -> tuple[float, float]:
    """Largest (y, x) of the polygons of a segmentation, whatever it holds; 0 for anything else."""
    y = x = 0.0
    for polygon in segmentation if isinstance(segmentation, list) else ():
        if isinstance(polygon, list) and all(type(value) in (int, float) for value in polygon):
            x, y = max([x, *polygon[0::2]]), max([y, *polygon[1::2]])
    return y, x


def signed_area(points: NDArray[np.float64]) -> float:
    """Area of a polygon (N, 2); loops that wind the other way count negative."""
    x, y = points.T
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2)


def covers_nothing(
    points: NDArray[np.float64], polygon: list[float], size: tuple[int, int]
) -> bool:
    """Whether a polygon is too small to leave a pixel in a mask."""
    return abs(signed_area(points)) < 1 and _pixels(polygon, size) == 0


def crossing_matters(
    points: NDArray[np.float64], polygon: list[float], size: tuple[int, int]
) -> bool:
    """Whether an outline crosses itself so that its mask is not what its area says.

    Where it merely touches itself, or a loop is as thin as a line, nobody can see it.
    """
    signed = abs(signed_area(points))
    if len(points) < 4 or distance_outside([polygon], size) > 0:
        return False
    pixels = _pixels(polygon, size)
    length = float(np.hypot(*(points - np.roll(points, -1, axis=0)).T).sum())
    # Drawing an outline adds up to half a pixel all along it.
    if abs(pixels - signed) <= length / 2 + _CROSSING_SHARE * pixels:
        return False
    return len(points) <= _MOST_POINTS and crosses_itself(points)


def crosses_itself(points: NDArray[np.float64]) -> bool:
    """Whether two edges of a polygon (N, 2) cross, each on both sides of the other."""
    starts, ends = points, np.roll(points, -1, axis=0)
    along = ends - starts
    # (N, N): on which side of edge i point j lies.
    side = along[:, None, 0] * (points[None, :, 1] - starts[:, None, 1]) - along[:, None, 1] * (
        points[None, :, 0] - starts[:, None, 0]
    )
    splits = side * np.roll(side, -1, axis=1) < 0
    return bool((splits & splits.T).any())


def _measure(labelled: Labelled, split: str, findings: list[Finding]) -> Shape | None:
    size = labelled.picture.size
    entry = labelled.entry
    where = labelled.where
    if entry.get("segmentation") in (None, []):
        findings.append(labelled.finding("no-mask", split, f"{where} has no segmentation."))
        return None
    if size is None:
        return None
    with collecting(findings, labelled.finding("bad-field", split, "")):
        fields.area(entry, where)
    rle: dict[str, Any] = {}
    with collecting(findings, labelled.finding("unreadable-mask", split, "")):
        rle = read_mask(entry, size, where)
    box = None
    if entry.get("bbox") not in (None, []):
        with collecting(findings, labelled.finding("bad-box", split, "")):
            box = fields.box(entry["bbox"], size, where)
    if not rle:
        return None
    shape = shape_of(labelled, rle, box)
    if shape.bounds is None:
        text = f"{where} has a mask without a single pixel inside its picture."
        findings.append(labelled.finding("empty-mask", split, text))
    return shape


def shape_of(labelled: Labelled, rle: dict[str, Any], box: Box | None) -> Shape:
    """An object with its mask and box; without a box that of the mask is its box."""
    area = int(coco_mask.area(rle))
    bounds: Box | None = None
    if area:
        bounds = as_edges(tuple(coco_mask.toBbox(rle).tolist()))
    no_box = labelled.entry.get("bbox") in (None, [])
    return Shape(labelled, rle, area, bounds, bounds if no_box else box)


def as_numbers(bbox: Any) -> Box | None:
    """A box of four finite numbers, as they are."""
    if not isinstance(bbox, list) or len(bbox) != 4:
        return None
    if not all(map(is_number, bbox)):
        return None
    x, y, w, h = map(float, bbox)
    return x, y, w, h


def _pixels(polygon: list[float], size: tuple[int, int]) -> float:
    return float(coco_mask.area(coco_mask.frPyObjects([polygon], *size))[0])


def _is_near(edges: NDArray[np.float64], bounds: NDArray[np.float64]) -> bool:
    sides = np.tile(bounds[2:] - bounds[:2], 2)
    return bool((np.abs(edges - bounds) <= np.maximum(EDGE_SLACK, EDGE_SLACK_SHARE * sides)).all())


def _as_bbox(edges: Box) -> list[int]:
    x1, y1, x2, y2 = map(round, edges)
    return [x1, y1, x2 - x1, y2 - y1]


def _iou(a: Box, b: Box) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union > 0 else 0.0
