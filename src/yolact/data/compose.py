"""Samples put together from several pictures: mosaic and copy-paste.

A canvas is the network's input. A :class:`Tile` is one picture on it: the view that would fill the
canvas with it, and the pane in which it is seen. An ordinary sample is one tile with all of the
canvas, a mosaic is four. For copy-paste, objects of another tile are laid over what is there:
in pixels of the canvas for the picture, in cells of the prototypes for the truth.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolact.data.augmentations import MIN_OBJECT_SIDE, View
from yolact.data.coco import Annotation, ImageRecord, decode_mask
from yolact.errors import DataError
from yolact.ops.masks import CroppedMask
from yolact.processing.preprocess import stretch

MIN_VISIBLE = 0.1
"""Objects of which less stays visible under what is pasted over them are dropped."""

MIN_SEEN = 0.25
"""Objects of whose box less is seen count for nothing where the centre does not decide."""

_MOSAIC_CENTRE = (0.25, 0.75)

Canvas = NDArray[np.float32]
"""(H, W, 3) RGB in 0-255 units."""
Change = Callable[[Canvas], Canvas]


class Pane(NamedTuple):
    """A rectangle of the canvas in pixels; right and bottom are not part of it."""

    left: int
    top: int
    right: int
    bottom: int

    def fractions(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """x1 y1 x2 y2 as fractions of a canvas of ``size`` (height, width)."""
        height, width = size
        return self.left / width, self.top / height, self.right / width, self.bottom / height


@dataclass(frozen=True)
class SceneObject:
    """One object or crowd region on the canvas."""

    annotation: Annotation
    box: tuple[float, float, float, float]
    """x1 y1 x2 y2 as fractions of the canvas, clipped to what is seen."""
    mask: CroppedMask | None
    """In pixels of its picture; None for a crowd, of which only the box is ever used."""
    view: View
    part: tuple[float, float, float, float]
    """x1 y1 x2 y2: where on the canvas its picture is seen, as fractions."""

    def cells(self, size: tuple[int, int]) -> CroppedMask:
        """Its mask on the canvas at ``size`` (height, width); empty for a crowd."""
        if self.mask is None:
            return CroppedMask(0, 0, np.zeros((0, 0), dtype=np.bool_))
        return self.view.crop_mask(self.mask, size, _cells_between(self.part, size))

    def footprint(self, size: tuple[int, int]) -> CroppedMask:
        """As :meth:`cells`; what has no cells there is taken as its box."""
        cells = self.cells(size)
        if cells.bitmap.any():
            return cells
        height, width = size
        x, y = min(int(self.box[0] * width), width - 1), min(int(self.box[1] * height), height - 1)
        shape = max(ceil(self.box[3] * height) - y, 1), max(ceil(self.box[2] * width) - x, 1)
        return CroppedMask(x, y, np.ones(shape, dtype=np.bool_))


@dataclass(frozen=True)
class Tile:
    """One picture on the canvas."""

    record: ImageRecord
    view: View
    """Which window of the picture would fill the whole canvas."""
    pane: Pane
    """Where on the canvas it is seen."""
    by_centre: bool = True
    """Whether an object counts if its centre is seen, as in the original, or if enough of it is."""

    def draw(self, picture: NDArray[np.uint8], canvas: Canvas, change: Change) -> None:
        """Draw the picture (H, W, 3) into its pane; where none is, the canvas stays.

        It is resampled once, as :func:`yolact.processing.preprocess.stretch` does in prediction.

        Args:
            picture: As read.
            canvas: Changed in place.
            change: Applied to the part that is seen, as a change of its colours.
        """
        view, pane = self.view, self.pane
        height, width = canvas.shape[:2]
        if view.mirrored:
            canvas = canvas[:, ::-1]
            pane = pane._replace(left=width - pane.right, right=width - pane.left)
        # The pixels of the picture that the pane touches, and where they lie on the canvas.
        x1 = max(view.x + pane.left * view.width // width, 0)
        y1 = max(view.y + pane.top * view.height // height, 0)
        x2 = min(view.x - -pane.right * view.width // width, picture.shape[1])
        y2 = min(view.y - -pane.bottom * view.height // height, picture.shape[0])
        left = round((x1 - view.x) * width / view.width)
        top = round((y1 - view.y) * height / view.height)
        right = round((x2 - view.x) * width / view.width)
        bottom = round((y2 - view.y) * height / view.height)
        seen = Pane(
            max(left, pane.left),
            max(top, pane.top),
            min(right, pane.right),
            min(bottom, pane.bottom),
        )
        if x2 <= x1 or y2 <= y1 or seen.right <= seen.left or seen.bottom <= seen.top:
            return
        part = stretch(picture[y1:y2, x1:x2], (bottom - top, right - left))
        part = part[seen.top - top : seen.bottom - top, seen.left - left : seen.right - left]
        canvas[seen.top : seen.bottom, seen.left : seen.right] = change(part)

    def objects(self, size: tuple[int, int]) -> list[SceneObject]:
        """What is to be found in its pane of a canvas of ``size`` (height, width) in pixels.

        An object counts if it is large enough there, and its centre or enough of it is seen.

        Raises:
            DataError: If a mask cannot be decoded.
        """
        annotations = self.record.annotations
        boxes = np.array([a.box for a in annotations], dtype=np.float32).reshape(-1, 4)
        boxes = self.view.map_boxes(boxes, clipped=False)
        part = self.pane.fractions(size)
        near, far = np.array(part, np.float32).reshape(2, 2)
        clipped = np.clip(boxes, np.tile(near, 2), np.tile(far, 2))
        if self.by_centre:
            centres = (boxes[:, :2] + boxes[:, 2:]) / 2
            is_seen = ((near < centres) & (centres < far)).all(axis=1)
        else:
            is_seen = _areas(clipped) >= MIN_SEEN * _areas(boxes)
        return [
            SceneObject(
                annotation=annotations[i],
                box=_corners(clipped[i]),
                mask=None if annotations[i].is_crowd else _decode(annotations[i], self.record),
                view=self.view,
                part=part,
            )
            for i in np.flatnonzero(is_seen & _is_large(clipped, size))
        ]


def mosaic_panes(size: tuple[int, int], rng: np.random.Generator) -> list[Pane]:
    """Four panes around a random centre, which together are the canvas of ``size``."""
    height, width = size
    y = round(rng.uniform(*_MOSAIC_CENTRE) * height)
    x = round(rng.uniform(*_MOSAIC_CENTRE) * width)
    return [
        Pane(0, 0, x, y),
        Pane(x, 0, width, y),
        Pane(0, y, x, height),
        Pane(x, y, width, height),
    ]


def covered(objects: Sequence[SceneObject], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Which cells of a canvas at ``size`` (height, width) any of the objects covers."""
    union = np.zeros(size, dtype=np.bool_)
    for item in objects:
        x, y, bitmap = item.cells(size)
        union[y : y + bitmap.shape[0], x : x + bitmap.shape[1]] |= bitmap
    return union


def still_visible(objects: Sequence[SceneObject], cover: NDArray[np.bool_]) -> list[SceneObject]:
    """What can be found of the objects when ``cover`` (H, W), in pixels of the canvas, lies on them.

    An object of which too little is left is dropped. The box of another shrinks where its mask
    does, to the visible part; sides that are not hidden stay exact. A crowd region keeps its box: it
    excuses what is found there, and that stays right around what covers it.
    """
    kept = []
    for item in objects:
        x, y, before = item.footprint(cover.shape)
        hidden = cover[y : y + before.shape[0], x : x + before.shape[1]]
        if not (before & hidden).any():
            kept.append(item)
            continue
        after = before & ~hidden
        if after.sum() < MIN_VISIBLE * before.sum():
            continue
        if not item.annotation.is_crowd:
            item = replace(item, box=_shrunk(item.box, x, y, before, after, cover.shape))
            if not _is_large(np.array([item.box], np.float32), cover.shape)[0]:
                continue
        kept.append(item)
    return kept


def rasterise(objects: Sequence[SceneObject], size: tuple[int, int]) -> NDArray[np.uint8]:
    """(M, height, width) masks of 0 and 1 on the canvas at ``size``; those of crowds are empty."""
    masks = np.zeros((len(objects), *size), dtype=np.uint8)
    for mask, item in zip(masks, objects, strict=True):
        x, y, bitmap = item.cells(size)
        mask[y : y + bitmap.shape[0], x : x + bitmap.shape[1]] = bitmap
    return masks


def _shrunk(
    box: tuple[float, float, float, float],
    x: int,
    y: int,
    before: NDArray[np.bool_],
    after: NDArray[np.bool_],
    size: tuple[int, ...],
) -> tuple[float, float, float, float]:
    """The box with every side moved in at which the mask has lost its outermost pixels."""
    (had_rows, had_columns), (rows, columns) = before.nonzero(), after.nonzero()
    left, right = _moved(had_columns, columns, x, box[0], box[2], size[1])
    top, bottom = _moved(had_rows, rows, y, box[1], box[3], size[0])
    return left, top, right, bottom


def _moved(
    before: NDArray[np.int64],
    after: NDArray[np.int64],
    offset: int,
    near: float,
    far: float,
    side: int,
) -> tuple[float, float]:
    """One direction of :func:`_shrunk`: where pixels were and are, on a canvas of ``side``."""
    if after.min() > before.min():
        near = max(near, float(offset + after.min()) / side)
    if after.max() < before.max():
        far = min(far, float(offset + after.max() + 1) / side)
    return near, max(far, near)


def _areas(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    areas: NDArray[np.float32] = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return areas


def _is_large(boxes: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.bool_]:
    sides = (boxes[:, 2:] - boxes[:, :2]) * (size[1], size[0])
    large: NDArray[np.bool_] = sides.min(axis=1) >= MIN_OBJECT_SIDE
    return large


def _cells_between(
    part: tuple[float, float, float, float], size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the cells whose centres lie in a part of the canvas.

    Parts that meet share no cell.
    """
    height, width = size
    return (
        ceil(part[0] * width - 0.5),
        ceil(part[1] * height - 0.5),
        ceil(part[2] * width - 0.5),
        ceil(part[3] * height - 0.5),
    )


def _corners(box: NDArray[np.float32]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = map(float, box)
    return x1, y1, x2, y2


def _decode(annotation: Annotation, record: ImageRecord) -> CroppedMask:
    try:
        return decode_mask(annotation.segmentation, record.height, record.width)
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(
            f"a mask of {record.path} (image {record.image_id}) cannot be decoded: {error}."
        ) from error
