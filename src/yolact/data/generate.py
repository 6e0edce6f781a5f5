"""Made-up pictures with exact COCO labels: the data of ``yolact demo`` and of the tests.

Every picture shows a few solid shapes on a textured ground. They overlap, hide parts of each
other, have holes and throw shadows; the labels give the visible part of each, as COCO does.
A picture depends on the seed, its split and its index alone, never on how many are made.

This file knows scenes and COCO files; ``shapes`` knows how one object looks. Points are x y pairs,
and pixel i of an image covers [i, i + 1). Colours are BGR in [0, 1], as OpenCV stores them.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from faster_coco_eval.core import mask as coco_mask
from numpy.random import Generator
from numpy.typing import NDArray

from yolact.data.shapes import KINDS, ROPE, Floats, Kind, Points, colour
from yolact.errors import UsageError
from yolact.files import replacing, write_text

Bools = NDArray[np.bool_]
Labels = NDArray[np.int32]

CLASS_NAMES: tuple[str, ...] = tuple(kind.name for kind in KINDS)
"""The classes of the generated data, in the order of their category ids."""

_MIN_SIDE = 64
_MIN_VISIBLE_SHARE = 0.25
_MIN_VISIBLE_PIXELS = 40
_PLACING_ATTEMPTS = 8
# One picture of every _PERIOD is empty and one has a crowd. By index, not by chance, so that even
# a small data set is sure to have both.
_PERIOD, _EMPTY_AT, _CROWD_AT = 30, 11, 5
_SUPERSAMPLING = 3
_MARGIN = 14  # pixels around an object that its shadow may darken
_MIN_POLYGON_IOU = 0.97
_MAX_POLYGON_SHIFT = 1  # pixels by which the box of the polygons may differ


# --- Placing ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Object:
    """One shape at its place."""

    kind: Kind
    label: int
    """1 and up. The members of a crowd share theirs."""
    centre: tuple[float, float]
    """Pixels."""
    radius: float
    """Pixels from the centre to the reach of the shape."""
    angle: float
    area: float
    """Pixels it would show if nothing hid it, parts outside the image included."""
    window: tuple[slice, slice]
    """Rows and columns of the image that the object or its shadow can touch."""
    alpha: Floats
    """How much of each pixel of the window it covers, from 0 to 1."""


def _make_object(
    rng: Generator, kind: Kind, label: int, centre: Points, radius: float, size: tuple[int, int]
) -> _Object:
    """Draw an outline of this kind, turn it anyhow and find out which pixels it covers."""
    angle = rng.uniform(0, 2 * np.pi)
    cos, sin = math.cos(angle), math.sin(angle)
    turned = np.array([[cos, sin], [-sin, cos]]) * radius
    contours = [points @ turned + centre for points in kind.outline(rng)]
    outer, *holes = (cv2.contourArea(points.astype(np.float32)) for points in contours)

    limit = np.array(size[::-1])
    low = np.clip(np.floor(contours[0].min(axis=0)).astype(int) - _MARGIN, 0, limit - 1)
    high = np.clip(np.ceil(contours[0].max(axis=0)).astype(int) + _MARGIN, low + 1, limit)
    # OpenCV counts from the middle of a pixel and takes fixed-point numbers with 4 bits of
    # fraction. Filling all contours at once is even-odd, which leaves the holes open.
    fine = np.zeros((high - low)[::-1] * _SUPERSAMPLING, dtype=np.uint8)
    corners = [np.rint(((p - low) * _SUPERSAMPLING - 0.5) * 16).astype(np.int32) for p in contours]
    cv2.fillPoly(fine, corners, 255, shift=4)
    alpha = cv2.resize(fine, tuple((high - low).tolist()), interpolation=cv2.INTER_AREA)
    window = (slice(low[1], high[1]), slice(low[0], high[0]))
    return _Object(
        kind=kind,
        label=label,
        # Plain numbers, because NumPy's would turn every texture into float64.
        centre=(float(centre[0]), float(centre[1])),
        radius=radius,
        angle=angle,
        area=outer - sum(holes),
        window=window,
        alpha=alpha.astype(np.float32) / 255,
    )


def _random_object(
    rng: Generator, label: int, scene: list[_Object], size: tuple[int, int]
) -> _Object:
    """An object of any class and size, often close to another one, so that many overlap."""
    kind = KINDS[rng.integers(len(KINDS))]
    low, high = ((0.04, 0.065), (0.08, 0.19), (0.24, 0.36))[rng.choice(3, p=(0.12, 0.6, 0.28))]
    if kind is ROPE:
        low, high = 0.2, 0.55
    radius = max(6.0, rng.uniform(low, high) * min(size))
    centre = rng.uniform(0.1, 0.9, 2) * size[::-1]
    if scene and rng.random() < (0.8 if kind is ROPE else 0.35):
        other = scene[rng.integers(len(scene))]
        spread = 0.2 * other.radius if kind is ROPE else 0.5 * (other.radius + radius)
        centre = rng.normal(other.centre, spread)
    return _make_object(rng, kind, label, centre, radius, size)


def _crowd(rng: Generator, size: tuple[int, int]) -> list[_Object]:
    """A heap of tiny objects of one class, which share label 1."""
    kind = KINDS[rng.integers(len(KINDS) - 1)]  # not the rope, which is never tiny
    middle = rng.uniform(0.3, 0.7, 2) * size[::-1]
    radius = max(4.0, rng.uniform(0.021, 0.032) * min(size))
    places = middle + rng.normal(0, (5.5 * radius, 3.5 * radius), (rng.integers(15, 30), 2))
    heap = [_make_object(rng, kind, 1, place, radius, size) for place in places]
    return [thing for thing in heap if thing.alpha.any()]  # the others fell off the image


def _cover(labels: Labels, thing: _Object) -> None:
    """Give the pixels that lie mostly under ``thing`` its label."""
    labels[thing.window][thing.alpha >= 0.5] = thing.label


def _compose(
    rng: Generator, index: int, size: tuple[int, int], max_objects: int
) -> tuple[list[_Object], Labels]:
    """Choose and place the objects of one picture.

    A place where too little of any object would stay visible is given up for another one, before
    anything is painted, so that no picture shows an object it has no label for.

    Returns:
        The objects from the hindmost to the foremost, and the (H, W) label of each pixel's
        foremost object, 0 for the ground.
    """
    labels = np.zeros(size, dtype=np.int32)
    scene: list[_Object] = []
    if index % _PERIOD == _EMPTY_AT:
        return scene, labels
    if index % _PERIOD == _CROWD_AT:
        scene = _crowd(rng, size)
        for thing in scene:
            _cover(labels, thing)
    first = 2 if scene else 1
    for label in range(first, 2 + rng.binomial(max_objects - 1, 0.6)):
        for _ in range(_PLACING_ATTEMPTS):
            thing = _random_object(rng, label, scene, size)
            attempt = labels.copy()
            _cover(attempt, thing)
            if _all_visible([*scene, thing], attempt):
                scene, labels = [*scene, thing], attempt
                break
    return scene, labels


def _all_visible(scene: list[_Object], labels: Labels) -> bool:
    label = [thing.label for thing in scene]
    visible = np.bincount(labels.ravel(), minlength=max(label) + 1)[1:]
    whole = np.bincount(label, [thing.area for thing in scene])[1:]
    needed = np.maximum(_MIN_VISIBLE_SHARE * whole, _MIN_VISIBLE_PIXELS)
    return bool(np.all((visible >= needed) | (whole == 0)))


# --- Painting -----------------------------------------------------------------------------------


def _ground(rng: Generator, size: tuple[int, int]) -> Floats:
    """A calm (H, W, 3) background: a slope between two dull colours, clouds, grain, a weave."""
    height, width = size
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)

    hue, value = rng.uniform(0, 360), rng.uniform(0.35, 0.85)
    start = colour(hue, rng.uniform(0.03, 0.3), value)
    end = colour(hue + rng.normal(0, 30), rng.uniform(0.03, 0.3), value + rng.normal(0, 0.12))
    direction = rng.uniform(0, 2 * np.pi)
    slope = 0.5 + 0.35 * (math.cos(direction) * x + math.sin(direction) * y)

    # Noise of several coarsenesses; stretched one way it looks like wood or cloth.
    stretch = 2 ** rng.uniform(-2, 2)
    tone = np.zeros(size, dtype=np.float32)
    for cells, strength in ((3, 0.5), (8, 0.3), (24, 0.2), (70, 0.12)):
        shape = (max(2, round(cells * stretch**0.5)), max(2, round(1.3 * cells / stretch**0.5)))
        coarse = rng.standard_normal(shape, dtype=np.float32) * strength
        tone += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    slope += rng.uniform(0, 0.35) * np.tanh(2.5 * tone)  # blotches

    step, ratio = rng.uniform(12, 60), rng.uniform(-1, 1)
    weave = np.sin(step * (x + ratio * y)) * np.cos(step * int(rng.integers(2)) * (y - ratio * x))
    light = 1 + rng.uniform(0.02, 0.1) * tone + rng.uniform(0, 0.04) * weave
    light -= rng.uniform(0, 0.12) * (x * x + y * y)
    ground = (start + (end - start) * slope[..., None]) * light[..., None]
    return ground.astype(np.float32, copy=False)


def _paint(
    rng: Generator, canvas: Floats, thing: _Object, colours: Floats, light: tuple[float, float]
) -> None:
    """Paint one object with its shadow over what is already there.

    Args:
        rng: Source of the details of the texture.
        canvas: (H, W, 3), changed in place.
        thing: The object.
        colours: (2, 3), the two colours its texture mixes.
        light: Unit vector x y, the direction in which light travels.
    """
    rows, columns = thing.window
    x: Floats = np.arange(columns.start, columns.stop, dtype=np.float32)
    y: Floats = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None]
    x = (x + 0.5 - thing.centre[0]) / thing.radius
    y = (y + 0.5 - thing.centre[1]) / thing.radius
    cos, sin = math.cos(thing.angle), math.sin(thing.angle)
    mix = thing.kind.texture(cos * x + sin * y, cos * y - sin * x, rng)[..., None]
    surface: Floats = colours[0] + (colours[1] - colours[0]) * mix

    # A blurred silhouette is a rounded relief: its slope against the light shades the edges.
    alpha = thing.alpha
    relief = cv2.GaussianBlur(alpha, None, float(np.clip(0.1 * thing.radius, 0.8, 3.5)))
    slope_y, slope_x = np.gradient(relief)
    bevel = 1.5 * (slope_x * light[0] + slope_y * light[1])
    broad = -0.12 * (x * light[0] + y * light[1])
    surface *= (1 + np.clip(bevel, -0.45, 0.45) + broad)[..., None]

    reach = float(np.clip(0.12 * thing.radius, 1, 5))
    shift = np.array([[1, 0, light[0] * reach], [0, 1, light[1] * reach]])
    fallen = cv2.warpAffine(alpha, shift, alpha.shape[::-1])
    shadow = 0.45 * cv2.GaussianBlur(fallen, None, 0.5 * reach + 0.5)
    patch = canvas[thing.window]
    patch *= (1 - shadow)[..., None]
    patch += (surface - patch) * alpha[..., None]


def _render(rng: Generator, scene: list[_Object], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Paint ground and objects, then what a camera adds. (H, W, 3) BGR."""
    canvas = _ground(rng, size)
    direction = rng.uniform(0.15, 0.85) * np.pi  # from above
    light = (math.cos(direction), math.sin(direction))
    colours = {thing.label: thing.kind.draw_colours(rng) for thing in scene}
    for thing in scene:
        _paint(rng, canvas, thing, colours[thing.label], light)
    canvas = cv2.GaussianBlur(canvas, None, rng.uniform(0.3, 0.7))
    canvas *= 255 * rng.uniform(0.85, 1.1)
    canvas += rng.uniform(1, 4) * rng.standard_normal((*size, 1), dtype=np.float32)
    picture: NDArray[np.uint8] = np.clip(canvas, 0, 255, out=canvas).astype(np.uint8)
    return picture


# --- Labels -------------------------------------------------------------------------------------


def _encoded(mask: Bools) -> dict[str, Any]:
    """Compressed run lengths that JSON can hold."""
    encoded = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    counts = encoded["counts"]
    return {
        "size": [int(side) for side in encoded["size"]],
        "counts": counts.decode() if isinstance(counts, bytes) else counts,
    }


def _segmentation(mask: Bools) -> list[list[float]] | dict[str, Any]:
    """Polygons, one per part, or run lengths if polygons cannot tell the (H, W) mask well."""
    encoded = _encoded(mask)
    # OpenCV traces the middles of the outermost pixels. On a mask of twice the size these lie a
    # quarter of a pixel inside the true edge.
    double = np.repeat(np.repeat(mask.astype(np.uint8), 2, axis=0), 2, axis=1)
    contours, tree = cv2.findContours(double, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if np.any(tree[0, :, 3] >= 0):  # a contour inside another one: a hole
        return encoded
    for tolerance in (1.2, 0.5):
        simple = [cv2.approxPolyDP(contour, tolerance, True) for contour in contours]
        polygons = [((points + 0.5) / 2).ravel().tolist() for points in simple]
        if all(len(polygon) >= 6 for polygon in polygons):
            drawn = coco_mask.merge(coco_mask.frPyObjects(polygons, *mask.shape))
            shift = np.abs(coco_mask.toBbox(drawn) - coco_mask.toBbox(encoded)).max()
            if (
                coco_mask.iou([drawn], [encoded], [0])[0, 0] > _MIN_POLYGON_IOU
                and shift <= _MAX_POLYGON_SHIFT
            ):
                return polygons
    return encoded


def _annotations(scene: list[_Object], labels: Labels, image_id: int) -> list[dict[str, Any]]:
    """COCO annotations of one picture, without ids."""
    found = []
    kinds = {thing.label: thing.kind for thing in scene}
    members = np.bincount([thing.label for thing in scene])
    for label, kind in kinds.items():
        mask = labels == label
        x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
        is_crowd = bool(members[label] > 1)
        found.append(
            {
                "image_id": image_id,
                "category_id": kind.category_id,
                "iscrowd": int(is_crowd),
                "area": int(mask.sum()),
                "bbox": [x, y, width, height],
                "segmentation": _encoded(mask) if is_crowd else _segmentation(mask),
            }
        )
    return found


# --- Writing ------------------------------------------------------------------------------------


def _write_pictures(
    out: Path, split: str, count: int, size: tuple[int, int], max_objects: int, seed: int
) -> dict[str, Any]:
    """Write the pictures of one split into ``out/images`` and return its COCO description."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(count):
        rng = np.random.default_rng([seed, ("train", "val").index(split), index])
        scene, labels = _compose(rng, index, size, max_objects)
        name = f"{split}_{index:05d}.jpg"
        with replacing(out / "images" / name) as temporary:
            _, jpeg = cv2.imencode(
                ".jpg", _render(rng, scene, size), [cv2.IMWRITE_JPEG_QUALITY, 92]
            )
            temporary.write_bytes(jpeg.tobytes())
        image = {"id": index + 1, "file_name": name, "height": size[0], "width": size[1]}
        images.append({**image, "license": 1})
        for annotation in _annotations(scene, labels, index + 1):
            annotations.append({"id": len(annotations) + 1, **annotation})
    url = "https://creativecommons.org/publicdomain/zero/1.0/"
    return {
        "info": {"description": f"yolact made-up shapes, {split}, seed {seed}", "version": "1.0"},
        "licenses": [{"id": 1, "name": "CC0 1.0", "url": url}],
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": kind.category_id, "name": kind.name, "supercategory": "shape"} for kind in KINDS
        ],
    }


def generate_dataset(
    out: Path,
    *,
    num_train: int = 400,
    num_val: int = 80,
    image_size: tuple[int, int] = (240, 320),
    max_objects: int = 6,
    seed: int = 0,
) -> None:
    """Write a data set in COCO format; the same arguments give the same bytes.

    It has ``images/train_00000.jpg`` … and ``images/val_00000.jpg`` … , and, written last,
    ``annotations/instances_train.json`` and ``annotations/instances_val.json``.

    Args:
        out: The folder to make; it may exist if it is empty.
        num_train: Pictures to train on, at least 1.
        num_val: Pictures to measure on, at least 1.
        image_size: Height and width in pixels, each at least 64.
        max_objects: Most objects in one picture, at least 1; a crowd counts as one.
        seed: At least 0.

    Raises:
        UsageError: ``out`` is a file or a folder that is not empty, or a number is out of range.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} already exists and is not an empty folder.")
    if min(num_train, num_val, max_objects) < 1:
        raise UsageError("num_train, num_val and max_objects must each be at least 1.")
    if min(image_size) < _MIN_SIDE:
        raise UsageError(f"image_size must be at least {_MIN_SIDE} by {_MIN_SIDE} pixels.")
    if seed < 0:
        raise UsageError("seed must not be negative.")
    splits = {
        split: _write_pictures(out, split, count, image_size, max_objects, seed)
        for split, count in (("train", num_train), ("val", num_val))
    }
    for split, description in splits.items():
        write_text(out / "annotations" / f"instances_{split}.json", json.dumps(description))
