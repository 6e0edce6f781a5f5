"""Training-only changes of a picture and its objects (spec 5.2, with its slips mended).

All geometry of one sample is a single :class:`View`: which part of the picture is shown, and where
in the network's input. Pixels and masks are therefore resampled once, however many steps chose the
view, and expanding a picture never builds the large canvas it stands for. What is put together from
several pictures, each with its view, is the business of :mod:`yolact.data.compose`.

Deviations from the original, on purpose:

* the minimum-IoU condition of the crop works: some object must overlap the crop that much;
* objects under four pixels in the network's input are dropped, as was meant (the original
  compared pixels with a fraction and dropped nothing);
* crop offsets start at zero, not at one;
* a picture left without objects is trained as background instead of being swapped for another.
"""

from dataclasses import dataclass, replace
from math import ceil, floor

import cv2
import numpy as np
from numpy.typing import NDArray

from yolact.ops.masks import CroppedMask

MIN_OBJECT_SIDE = 4.0  # pixels of the network input

_CROP_MIN_IOUS = (None, 0.1, 0.3, 0.7, 0.9, 0.0)  # None: no crop; 0.0: any crop
_CROP_TRIALS = 50

_JITTER_ZOOM = 1.6  # at most, in and out
_JITTER_ASPECT = 1.25
_LARGE_SCALE_ZOOM = (0.1, 2.0)  # as in "Simple Copy-Paste", Ghiasi et al. 2021, section 3
_TILE_ZOOM = (0.4, 1.0)

WHOLE = (0.0, 0.0, 1.0, 1.0)  # of the canvas


@dataclass(frozen=True)
class View:
    """A window of the picture, in pixels; it may reach beyond the picture's edges."""

    x: int
    y: int
    width: int
    height: int
    mirrored: bool = False

    def widened(self, aspect: float) -> "View":
        """The smallest window around this one, with the same centre, of ``aspect`` width to height.

        To half a pixel: what is added is the same on both sides.
        """
        beside = max(round((self.height * aspect - self.width) / 2), 0)
        above = max(round((self.width / aspect - self.height) / 2), 0)
        return replace(
            self,
            x=self.x - beside,
            y=self.y - above,
            width=self.width + 2 * beside,
            height=self.height + 2 * above,
        )

    def map_boxes(self, boxes: NDArray[np.float32], *, clipped: bool = True) -> NDArray[np.float32]:
        """Boxes (M, 4) in picture pixels -> fractions of the window, clipped to it."""
        corners = (boxes - (self.x, self.y, self.x, self.y)) / (
            self.width,
            self.height,
            self.width,
            self.height,
        )
        if clipped:
            corners = np.clip(corners, 0, 1)
        if self.mirrored:
            corners = np.stack(
                (1 - corners[:, 2], corners[:, 1], 1 - corners[:, 0], corners[:, 3]), axis=1
            )
        return corners.astype(np.float32)

    def map_mask(self, mask: CroppedMask, size: tuple[int, int]) -> NDArray[np.uint8]:
        """A mask in picture pixels -> the window at ``size``, (height, width) of 0 and 1."""
        mapped = np.zeros(size, dtype=np.uint8)
        crop = self.crop_mask(mask, size)
        rows, columns = crop.bitmap.shape
        mapped[crop.y : crop.y + rows, crop.x : crop.x + columns] = crop.bitmap
        return mapped

    def crop_mask(
        self,
        mask: CroppedMask,
        size: tuple[int, int],
        within: tuple[int, int, int, int] | None = None,
    ) -> CroppedMask:
        """A mask in picture pixels -> the window at ``size``, only where it can be true.

        Sampled twice as finely as asked and averaged, so that small objects keep their shape.

        Args:
            mask: Lies anywhere.
            size: (height, width) of the grid that the window is shown on.
            within: Left, top, right, bottom of the cells that count; by default all.
        """
        first_column, first_row, last_column, last_row = within or (0, 0, size[1], size[0])
        rows, columns = mask.bitmap.shape
        if not mask.bitmap.size:
            return CroppedMask(0, 0, np.zeros((0, 0), dtype=np.bool_))
        step_x, step_y = self.width / size[1], self.height / size[0]
        left, right = (mask.x - self.x) / step_x, (mask.x + columns - self.x) / step_x
        top, bottom = (mask.y - self.y) / step_y, (mask.y + rows - self.y) / step_y
        if self.mirrored:
            left, right = size[1] - right, size[1] - left
        x0, x1 = max(floor(left) - 1, first_column), min(ceil(right) + 1, last_column)
        y0, y1 = max(floor(top) - 1, first_row), min(ceil(bottom) + 1, last_row)
        if x1 <= x0 or y1 <= y0:
            return CroppedMask(0, 0, np.zeros((0, 0), dtype=np.bool_))
        # Fine cell i has its centre at cell coordinate (i + 0.5) / 2, and pixel p its at p + 0.5.
        first_x = self.x + (x0 + 0.25) * step_x
        if self.mirrored:
            first_x = self.x + self.width - (x0 + 0.25) * step_x
        slope_x = -step_x / 2 if self.mirrored else step_x / 2
        first_y = self.y + (y0 + 0.25) * step_y
        lookup = np.array(
            [
                [slope_x, 0, first_x - mask.x - 0.5],
                [0, step_y / 2, first_y - mask.y - 0.5],
            ]
        )
        fine = cv2.warpAffine(
            mask.bitmap.astype(np.uint8) * np.uint8(255),
            lookup,
            (2 * (x1 - x0), 2 * (y1 - y0)),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        )
        means = cv2.resize(fine, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
        return CroppedMask(x0, y0, means > 127)


def choose_view(base: View, boxes: NDArray[np.float32], rng: np.random.Generator) -> View:
    """The original's geometry: expand, crop, mirror, each by chance.

    Args:
        base: What prediction would show: the picture, or with letterbox more.
        boxes: (M, 4) x1 y1 x2 y2 of its objects in pixels, without crowds; M may be 0.
        rng: Source of all chance.
    """
    view = base
    if rng.random() < 0.5:
        view = _expand(view, rng)
    view = _crop(view, boxes, rng)
    return replace(view, mirrored=bool(rng.random() < 0.5))


def jittered_view(base: View, rng: np.random.Generator) -> View:
    """Zoom a little in or out, shift, change the aspect a little, mirror by chance.

    Milder than :func:`choose_view`: objects keep about their size, so that a short training gets
    further; still no two passes show the same picture.
    """
    zoom = np.exp(rng.uniform(-np.log(_JITTER_ZOOM), np.log(_JITTER_ZOOM)))
    aspect = np.exp(rng.uniform(-np.log(_JITTER_ASPECT), np.log(_JITTER_ASPECT)) / 2)
    return _flipped(_zoomed(base, zoom, aspect, WHOLE, rng), rng)


def large_scale_view(base: View, rng: np.random.Generator) -> View:
    """Large-scale jitter: zoom to a tenth up to twice, shift, mirror by chance; the aspect stays."""
    return _flipped(_zoomed(base, rng.uniform(*_LARGE_SCALE_ZOOM), 1.0, WHOLE, rng), rng)


def tile_view(
    base: View, part: tuple[float, float, float, float], mirror: bool, rng: np.random.Generator
) -> View:
    """The view of a picture that is seen in one part of a mosaic only.

    Args:
        base: What prediction would show.
        part: x1 y1 x2 y2, where on the canvas, as fractions. The picture fills it, or lies in it.
        mirror: Whether chance may mirror it.
        rng: Source of all chance.

    Returns:
        The window of the picture that would fill the whole canvas.
    """
    mirrored = mirror and bool(rng.random() < 0.5)
    if mirrored:
        part = 1 - part[2], part[1], 1 - part[0], part[3]
    zoom = np.exp(rng.uniform(*np.log(_TILE_ZOOM)))
    return replace(_zoomed(base, zoom, 1.0, part, rng), mirrored=mirrored)


def _flipped(view: View, rng: np.random.Generator) -> View:
    return replace(view, mirrored=bool(rng.random() < 0.5))


def _zoomed(
    base: View,
    zoom: float,
    aspect: float,
    part: tuple[float, float, float, float],
    rng: np.random.Generator,
) -> View:
    """A window ``zoom`` times smaller than ``base``, at a random place.

    What it shows in ``part`` of the canvas lies in ``base``, or, where that is smaller, around it.
    """
    width = max(round(base.width / zoom * aspect), 1)
    height = max(round(base.height / zoom / aspect), 1)
    room_x = base.width - (part[2] - part[0]) * width
    room_y = base.height - (part[3] - part[1]) * height
    x = rng.uniform(min(0.0, room_x), max(0.0, room_x)) - part[0] * width
    y = rng.uniform(min(0.0, room_y), max(0.0, room_y)) - part[1] * height
    return View(base.x + round(x), base.y + round(y), width, height)


def _expand(view: View, rng: np.random.Generator) -> View:
    ratio = rng.uniform(1, 4)
    left = rng.uniform(0, view.width * ratio - view.width)
    top = rng.uniform(0, view.height * ratio - view.height)
    return View(-int(left), -int(top), int(view.width * ratio), int(view.height * ratio))


def _crop(view: View, boxes: NDArray[np.float32], rng: np.random.Generator) -> View:
    while True:
        min_iou = _CROP_MIN_IOUS[rng.integers(len(_CROP_MIN_IOUS))]
        if min_iou is None:
            return view
        for _ in range(_CROP_TRIALS):
            width = rng.uniform(0.3 * view.width, view.width)
            height = rng.uniform(0.3 * view.height, view.height)
            if not 0.5 <= height / width <= 2:
                continue
            crop = View(
                view.x + int(rng.uniform(0, view.width - width)),
                view.y + int(rng.uniform(0, view.height - height)),
                max(int(width), 1),
                max(int(height), 1),
            )
            if len(boxes) == 0 or (
                centers_inside(crop, boxes).any() and _overlaps(crop, boxes).max() >= min_iou
            ):
                return crop


def centers_inside(view: View, boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which boxes (M, 4) have their centre strictly inside the window."""
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    inside: NDArray[np.bool_] = (
        (view.x < x) & (x < view.x + view.width) & (view.y < y) & (y < view.y + view.height)
    )
    return inside


def _overlaps(view: View, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    near = np.maximum(boxes[:, :2], (view.x, view.y))
    far = np.minimum(boxes[:, 2:], (view.x + view.width, view.y + view.height))
    shared = np.clip(far - near, 0, None).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    iou: NDArray[np.float32] = shared / (areas + view.width * view.height - shared)
    return iou


def distort_colours(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Random brightness, contrast, saturation and hue of an RGB picture in 0-255 units.

    Values are not clipped (spec 5.2 step 2).
    """
    image = image.copy()
    if rng.random() < 0.5:
        image += np.float32(rng.uniform(-32, 32))
    contrast_first = rng.random() < 0.5
    if contrast_first:
        image = _contrast(image, rng)
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    if rng.random() < 0.5:
        hsv[..., 1] *= np.float32(rng.uniform(0.5, 1.5))
    if rng.random() < 0.5:
        hue = hsv[..., 0] + np.float32(rng.uniform(-18, 18))
        # Never more than one turn away, and np.mod takes ten times as long.
        hsv[..., 0] = hue + np.float32(360) * ((hue < 0).astype(np.float32) - (hue >= 360))
    image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).astype(np.float32, copy=False)
    return image if contrast_first else _contrast(image, rng)


def _contrast(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    if rng.random() < 0.5:
        image = image * np.float32(rng.uniform(0.5, 1.5))
    return image
