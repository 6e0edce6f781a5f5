"""Training-only changes of a picture and its objects (spec 5.2, with its slips mended).

All geometry of one sample is a single :class:`View`: which part of the picture is shown, and where
in the network's input. Pixels and masks are therefore resampled once, however many steps chose the
view, and expanding a picture never builds the large canvas it stands for.

Deviations from the original, on purpose:

* the minimum-IoU condition of the crop works: some object must overlap the crop that much;
* objects under four pixels in the network's input are dropped, as was meant (the original
  compared pixels with a fraction and dropped nothing);
* crop offsets start at zero, not at one;
* a picture left without objects is trained as background instead of being swapped for another.
"""

from dataclasses import dataclass
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


@dataclass(frozen=True)
class View:
    """A window of the picture, in pixels; it may reach beyond the picture's edges."""

    x: int
    y: int
    width: int
    height: int
    mirrored: bool = False

    def map_boxes(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes (M, 4) in picture pixels -> fractions of the window, clipped to it."""
        corners = (boxes - (self.x, self.y, self.x, self.y)) / (
            self.width,
            self.height,
            self.width,
            self.height,
        )
        corners = np.clip(corners, 0, 1)
        if self.mirrored:
            corners = np.stack(
                (1 - corners[:, 2], corners[:, 1], 1 - corners[:, 0], corners[:, 3]), axis=1
            )
        return corners.astype(np.float32)

    def map_mask(self, mask: CroppedMask, size: tuple[int, int]) -> NDArray[np.uint8]:
        """A mask in picture pixels -> the window at ``size``, (height, width) of 0 and 1.

        Sampled twice as finely as asked and averaged, so that small objects keep their shape. Only
        the cells that the mask can reach are computed.
        """
        mapped = np.zeros(size, dtype=np.uint8)
        rows, columns = mask.bitmap.shape
        if not mask.bitmap.size:
            return mapped
        step_x, step_y = self.width / size[1], self.height / size[0]
        left, right = (mask.x - self.x) / step_x, (mask.x + columns - self.x) / step_x
        top, bottom = (mask.y - self.y) / step_y, (mask.y + rows - self.y) / step_y
        if self.mirrored:
            left, right = size[1] - right, size[1] - left
        x0, x1 = max(floor(left) - 1, 0), min(ceil(right) + 1, size[1])
        y0, y1 = max(floor(top) - 1, 0), min(ceil(bottom) + 1, size[0])
        if x1 <= x0 or y1 <= y0:
            return mapped
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
        mapped[y0:y1, x0:x1] = means > 127
        return mapped


def choose_view(
    height: int, width: int, boxes: NDArray[np.float32], rng: np.random.Generator
) -> View:
    """The original's geometry: expand, crop, mirror, each by chance.

    Args:
        height: Of the picture, in pixels.
        width: Of the picture, in pixels.
        boxes: (M, 4) x1 y1 x2 y2 of its objects in pixels, without crowds; M may be 0.
        rng: Source of all chance.
    """
    view = View(0, 0, width, height)
    if rng.random() < 0.5:
        view = _expand(view, rng)
    view = _crop(view, boxes, rng)
    return View(view.x, view.y, view.width, view.height, mirrored=bool(rng.random() < 0.5))


def jittered_view(height: int, width: int, rng: np.random.Generator) -> View:
    """Zoom a little in or out, shift, change the aspect a little, mirror by chance.

    Milder than :func:`choose_view`: objects keep about their size, so that a short training gets
    further; still no two passes show the same picture.

    Args:
        height: Of the picture, in pixels.
        width: Of the picture, in pixels.
        rng: Source of all chance.
    """
    zoom = np.exp(rng.uniform(-np.log(_JITTER_ZOOM), np.log(_JITTER_ZOOM)))
    aspect = np.exp(rng.uniform(-np.log(_JITTER_ASPECT), np.log(_JITTER_ASPECT)) / 2)
    window_width = max(round(width / zoom * aspect), 1)
    window_height = max(round(height / zoom / aspect), 1)
    return View(
        round(rng.uniform(*sorted((0, width - window_width)))),
        round(rng.uniform(*sorted((0, height - window_height)))),
        window_width,
        window_height,
        mirrored=bool(rng.random() < 0.5),
    )


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
