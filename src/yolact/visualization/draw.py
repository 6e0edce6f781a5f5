"""Drawing found objects over a picture: tinted masks, their outlines, and labels.

Takes plain arrays and touches only the windows that hold a mask or a label, so that a hundred
objects on a large photograph cost little more than copying it.
"""

import colorsys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from yolact.ops.masks import CroppedMask

Colour = tuple[int, int, int]

FILL = 0.45
"""Share of the object's colour in a filled pixel, that of the original (spec 4.2)."""

_GOLDEN_RATIO = 0.618034
# Classes share the circle of hues, so near hues get another saturation. Three tiers: labels whose
# hues are nearest lie 13, 34 or 55 apart, which is no multiple of three.
_SATURATIONS = (0.95, 0.75, 0.6)
# Shift of hue, and brightness, of neighbouring instances of a class.
_VARIATIONS = ((0.0, 0.50), (0.03, 0.80), (-0.03, 0.25), (0.015, 0.65), (-0.015, 0.95))

_SMALLEST_TEXT = 10  # pixels; below it letters are no longer legible
_MOST_CHIPS = 1 / 3  # of the picture: what it shows matters more than what is written on it
_MOST_COVERED = 0.25  # of a chip: with more of it under others it cannot be read


class _Scale(NamedTuple):
    """Sizes in pixels that suit a picture."""

    line: int
    text: int
    padding: int


class _Chip(NamedTuple):
    """A label: where its left top corner is, and its text's coverage."""

    x: int
    y: int
    coverage: NDArray[np.float32]
    """(height, width) in [0, 1]: how much of each pixel a letter covers."""


def draw_instances(
    image: NDArray[np.uint8],
    boxes: NDArray[np.float32],
    labels: NDArray[np.int64],
    scores: NDArray[np.float32] | None,
    names: Sequence[str],
    crops: Sequence[CroppedMask],
) -> NDArray[np.uint8]:
    """Draw objects over a copy of a picture, better ones over worse ones.

    A class always has the same hue; neighbours of one class differ in lightness. An object
    without a single mask pixel is drawn as its box. Lines and text grow with the picture. Labels
    avoid each other and small objects; one too wide for the picture loses its score, then its end,
    and one that finds no free place, or would hide too much of the picture, is left out.

    Args:
        image: (H, W, 3) RGB; stays as it is.
        boxes: (N, 4) x1 y1 x2 y2 in pixels, inside the picture.
        labels: (N,) 0 … C-1.
        scores: (N,) in [0, 1], in any order; None for labels, which have none.
        names: Of all C classes.
        crops: N masks, each inside the picture.

    Returns:
        (H, W, 3) RGB.
    """
    canvas = image.copy()
    scale = _scale(image.shape[:2])
    colours = _instance_colours(labels, boxes)
    best_last = np.arange(len(boxes)) if scores is None else np.argsort(scores, kind="stable")
    for index in best_last:
        _fill(canvas, crops[index], colours[index])
    for index in best_last:
        _outline(canvas, crops[index], boxes[index], colours[index], scale.line)
    for index, chip in _arrange_chips(canvas.shape[:2], boxes, labels, scores, names, crops, scale):
        _draw_chip(canvas, chip, colours[index])
    return canvas


def _scale(size: tuple[int, ...]) -> _Scale:
    # Between the sides, so that neither a panorama nor a portrait gets giant letters.
    extent = float(np.sqrt(size[0] * size[1]))
    text = max(_SMALLEST_TEXT, round(extent * 0.021))
    return _Scale(line=max(1, round(extent / 450)), text=text, padding=max(1, round(text * 0.25)))


def _instance_colours(labels: NDArray[np.int64], boxes: NDArray[np.float32]) -> list[Colour]:
    """A colour for each object: the hue says the class, the shade tells neighbours apart."""
    colours: list[Colour] = [(0, 0, 0)] * len(labels)
    seen: dict[int, int] = {}
    # From left to right, so that objects side by side follow each other in the variations.
    for index in np.argsort(boxes[:, 0] + boxes[:, 2], kind="stable"):
        label = int(labels[index])
        rank = seen[label] = seen.get(label, -1) + 1
        colours[index] = _colour(label, rank)
    return colours


def _colour(label: int, rank: int) -> Colour:
    shift, brightness = _VARIATIONS[rank % len(_VARIATIONS)]
    # Multiples of the golden ratio keep any number of classes well apart.
    hue = (label * _GOLDEN_RATIO + 0.58 + shift) % 1
    saturation = _SATURATIONS[label % len(_SATURATIONS)]
    pure = np.array(colorsys.hls_to_rgb(hue, 0.5, saturation))
    # Halfway to the wanted brightness: blue is brightened, else it drowns in dark pictures, and
    # yellow darkened, but each stays what it is.
    luma = _luma(pure)
    wanted = (luma + brightness) / 2
    if wanted > luma:
        pure += (1 - pure) * (wanted - luma) / (1 - luma)
    else:
        pure *= wanted / luma
    red, green, blue = (round(255 * float(channel)) for channel in pure)
    return red, green, blue


def _luma(colour: NDArray[np.floating[Any]] | Colour) -> float:
    """Perceived brightness of an RGB colour, in its unit (Rec. 601)."""
    return float(np.dot(colour, (0.299, 0.587, 0.114)))


def _fill(canvas: NDArray[np.uint8], crop: CroppedMask, colour: Colour) -> None:
    height, width = crop.bitmap.shape
    window = canvas[crop.y : crop.y + height, crop.x : crop.x + width]
    tint = np.array(colour, dtype=np.float32) * FILL
    window[crop.bitmap] = (window[crop.bitmap] * np.float32(1 - FILL) + tint + 0.5).astype(np.uint8)


def _outline(
    canvas: NDArray[np.uint8],
    crop: CroppedMask,
    box: NDArray[np.float32],
    colour: Colour,
    line: int,
) -> None:
    if crop.bitmap.any():
        contours, _ = cv2.findContours(
            crop.bitmap.astype(np.uint8),
            cv2.RETR_CCOMP,
            cv2.CHAIN_APPROX_SIMPLE,
            offset=(crop.x, crop.y),
        )
        cv2.drawContours(canvas, contours, -1, colour, line)
    else:
        x1, y1, x2, y2 = (int(edge) for edge in box)
        cv2.rectangle(canvas, (x1, y1), (max(x1, x2 - 1), max(y1, y2 - 1)), colour, line)


def _shortened(name: str, score: float | None, width: int, scale: _Scale) -> str:
    """The longest form of the label that fits into the picture."""
    font = text_font(scale.text)
    room = width - 2 * scale.padding
    forms = [name] if score is None else [f"{name} {score:.2f}", name]
    forms += [f"{name[:length]}…" for length in range(len(name) - 1, 0, -1)]
    return next((form for form in forms if font.getlength(form) <= room), "")


@lru_cache(maxsize=256)
def _text_coverage(text: str, scale: _Scale) -> NDArray[np.float32]:
    """(height, width) of a chip, 1 where a letter is; of the same height for every text."""
    if not text:
        return np.zeros((0, 0), dtype=np.float32)
    font = text_font(scale.text)
    ascent, descent = font.getmetrics()
    size = (
        round(font.getlength(text)) + 2 * scale.padding,
        ascent + descent + scale.padding,
    )
    picture = Image.new("L", size)
    ImageDraw.Draw(picture).text((scale.padding, scale.padding // 2), text, fill=255, font=font)
    return np.asarray(picture).astype(np.float32) / np.float32(255)


@lru_cache(maxsize=8)
def text_font(size: int) -> ImageFont.FreeTypeFont:
    """The font of everything written on pictures, ``size`` pixels high."""
    # DejaVu comes with Matplotlib and knows Latin, Greek and Cyrillic; Pillow's own font and
    # OpenCV's know ASCII only.
    import matplotlib

    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(fonts / "DejaVuSans.ttf"), size)


def _arrange_chips(
    image_size: tuple[int, ...],
    boxes: NDArray[np.float32],
    labels: NDArray[np.int64],
    scores: NDArray[np.float32] | None,
    names: Sequence[str],
    crops: Sequence[CroppedMask],
    scale: _Scale,
) -> list[tuple[int, _Chip]]:
    """Labels with the object each belongs to, worst first; the best choose their places first."""
    height, width = image_size
    windows = _windows(boxes, crops)
    chips: list[tuple[int, _Chip]] = []
    taken = np.zeros((0, 4))
    room = height * width * _MOST_CHIPS
    best_first = np.arange(len(boxes)) if scores is None else np.argsort(-scores, kind="stable")
    for index in best_first:
        score = None if scores is None else float(scores[index])
        text = _shortened(names[labels[index]], score, width, scale)
        coverage = _text_coverage(text, scale)
        if not text or coverage.shape[0] > height or coverage.size > room:
            continue
        place = _place(windows[index], coverage.shape, image_size, taken, windows)
        if place is None:
            continue
        chips.append((int(index), _Chip(*place, coverage)))
        chip_height, chip_width = coverage.shape
        corners = (*place, place[0] + chip_width, place[1] + chip_height)
        taken = np.concatenate((taken, [corners]))
        room -= coverage.size
    return chips[::-1]


def _windows(boxes: NDArray[np.float32], crops: Sequence[CroppedMask]) -> NDArray[np.floating[Any]]:
    """(N, 4) x1 y1 x2 y2 of what is seen of each object: its mask, or its box if that is empty."""
    windows = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    for window, crop in zip(windows, crops, strict=True):
        height, width = crop.bitmap.shape
        if height and width:
            window[:] = crop.x, crop.y, crop.x + width, crop.y + height
    return windows


def _place(
    window: NDArray[np.floating[Any]],
    chip_size: tuple[int, ...],
    image_size: tuple[int, ...],
    taken: NDArray[np.floating[Any]],
    windows: NDArray[np.floating[Any]],
) -> tuple[int, int] | None:
    """Left top corner of a chip beside its object and inside the picture; None if all is taken.

    Other chips must stay readable, and objects hardly larger than a chip visible.
    """
    height, width = chip_size
    corners = _candidates(window, height, width)
    limits = np.array((image_size[1] - width, image_size[0] - height))
    corners = corners.round().clip(0, limits)
    places = np.concatenate((corners, corners + np.array((width, height))), axis=1)
    size = height * width
    areas = np.prod(windows[:, 2:] - windows[:, :2], axis=1)
    hidden_chips = _overlaps(places, taken).sum(axis=1) / size
    hidden_objects = _overlaps(places, windows[areas < 6 * size]).sum(axis=1) / size
    # The candidates come in order of preference; a little overlap is better than a far place.
    cost = 4 * hidden_chips + hidden_objects + 0.03 * np.arange(len(places))
    best = int(cost.argmin())
    if hidden_chips[best] > _MOST_COVERED:
        return None
    return int(corners[best, 0]), int(corners[best, 1])


def _candidates(
    window: NDArray[np.floating[Any]], height: int, width: int
) -> NDArray[np.floating[Any]]:
    """(K, 2) places of a chip around and inside an object, the usual ones first."""
    x1, y1, x2, y2 = window
    middle_x, middle_y = (x1 + x2 - width) / 2, (y1 + y2 - height) / 2
    columns = (x1, middle_x, x2 - width)
    rows = (y1 - height, y1, y2, y2 - height)
    near = [(x, y) for y in rows for x in columns]
    beside = [(x, y) for y in (y1, middle_y, y2 - height) for x in (x2, x1 - width)]
    centre = [(middle_x, middle_y)]
    far = [(x, y) for y in (y1 - 2 * height, y2 + height) for x in (*columns, x2, x1 - width)]
    return np.array(near + beside + centre + far)


def _overlaps(
    places: NDArray[np.floating[Any]], others: NDArray[np.floating[Any]]
) -> NDArray[np.floating[Any]]:
    """(K, M) areas that each of K rectangles shares with each of M."""
    near = np.maximum(places[:, None, :2], others[None, :, :2])
    far = np.minimum(places[:, None, 2:], others[None, :, 2:])
    shared: NDArray[np.floating[Any]] = (far - near).clip(min=0).prod(axis=2)
    return shared


def _draw_chip(canvas: NDArray[np.uint8], chip: _Chip, colour: Colour) -> None:
    height, width = chip.coverage.shape
    window = canvas[chip.y : chip.y + height, chip.x : chip.x + width]
    letters = np.float32(0 if _luma(colour) > 135 else 255)
    background = np.array(colour, dtype=np.float32)
    coverage = chip.coverage[:, :, None]
    window[:] = (background + (letters - background) * coverage + 0.5).astype(np.uint8)
