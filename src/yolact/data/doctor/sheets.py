"""Contact sheets of the suspects: for each kind of finding one picture of the objects concerned."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from yolact.data.doctor.check import Examination
from yolact.data.doctor.findings import Finding
from yolact.data.doctor.geometry import Box, Shape, as_edges, as_numbers
from yolact.data.images import read_image
from yolact.errors import ImageError
from yolact.files import refuse_existing, replacing
from yolact.ops.masks import CroppedMask
from yolact.ops.rle import rle_to_crop
from yolact.visualization.contact_sheet import contact_sheet, fitted
from yolact.visualization.draw import draw_instances

MOST_CELLS = 30
_CELL = (180, 240)
_MARGIN = 0.3  # of the object's longer side, around it
_LEAST_MARGIN = 12  # pixels
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)


def write_sheets(examination: Examination, folder: Path) -> list[Path]:
    """Write ``<code>.jpg`` for every kind of finding that can be shown.

    A cell shows an object with its mask, and its box in white, or a picture with all its objects;
    a picture that is there twice is shown beside its double.

    Args:
        examination: What was found.
        folder: New or empty folder.

    Raises:
        UsageError: If the folder is there and not empty.
    """
    refuse_existing(folder)
    gallery = _Gallery(examination)
    written = []
    for code, findings in examination.by_code().items():
        cells = []
        for finding in _spread(findings):
            picture = gallery.cell(finding)
            if picture is not None:
                cells.append((picture, f"{finding.file}: {finding.text}"))
        if cells:
            sheet = contact_sheet(*zip(*cells, strict=True), cell=_CELL)
            path = folder / f"{code}.jpg"
            with replacing(path) as temporary:
                Image.fromarray(sheet).save(temporary, quality=90)
            written.append(path)
    return written


class _Gallery:
    """Draws what findings are about."""

    def __init__(self, examination: Examination) -> None:
        self._names = list(
            dict.fromkeys(n for s in examination.surveys for n in s.categories.values())
        )
        self._categories = {survey.split: survey.categories for survey in examination.surveys}
        self._paths = {
            (survey.split, picture.index): picture.path
            for survey in examination.surveys
            for picture in survey.pictures
        }
        self._objects: dict[tuple[str, int], Shape] = {}
        self._on_picture: dict[tuple[str, int], list[Shape]] = {}
        for split, shapes in examination.shapes.items():
            for shape in shapes:
                labelled = shape.labelled
                self._objects[split, labelled.index] = shape
                self._on_picture.setdefault((split, labelled.picture.index), []).append(shape)
        self._entries = {
            (survey.split, labelled.index): labelled.entry
            for survey in examination.surveys
            for labelled in survey.objects
        }

    def cell(self, finding: Finding) -> NDArray[np.uint8] | None:
        """A small picture of what a finding is about; None if nothing of it can be shown."""
        path = self._paths.get((finding.split, -1 if finding.image is None else finding.image))
        if path is None:
            return None
        try:
            picture = read_image(path)
            other = None if finding.other is None else read_image(finding.other)
        except ImageError:
            return None
        if finding.annotation is not None:
            return self._object(picture, finding.split, finding.annotation)
        shapes = self._on_picture.get((finding.split, finding.image or 0), [])
        whole = (0, 0, picture.shape[1], picture.shape[0])
        drawn = self._drawn(picture, whole, finding.split, shapes)
        if other is None:
            return drawn
        half = (_CELL[0], _CELL[1] // 2)
        parts = [_padded(fitted(part, half), half) for part in (drawn, other)]
        return np.concatenate(parts, axis=1)

    def _object(
        self, picture: NDArray[np.uint8], split: str, index: int
    ) -> NDArray[np.uint8] | None:
        shape = self._objects.get((split, index))
        numbers = as_numbers(self._entries.get((split, index), {}).get("bbox"))
        box = None if numbers is None else as_edges(numbers)
        places = [place for place in (box, shape.bounds if shape else None) if place is not None]
        height, width = picture.shape[:2]
        window = _window(places, height, width)
        cell = self._drawn(picture, window, split, [shape] if shape else [])
        if box is not None:
            x, y, right, _ = window
            scale = cell.shape[1] / (right - x)
            near = (round((box[0] - x) * scale), round((box[1] - y) * scale))
            far = (round((box[2] - x) * scale) - 1, round((box[3] - y) * scale) - 1)
            if max(map(abs, (*near, *far))) < 2**15:
                cv2.rectangle(cell, near, far, _BLACK, 3)
                cv2.rectangle(cell, near, far, _WHITE, 1)
        return cell

    def _drawn(
        self,
        picture: NDArray[np.uint8],
        window: tuple[int, int, int, int],
        split: str,
        shapes: Sequence[Shape],
    ) -> NDArray[np.uint8]:
        """The window of a picture, as large as a cell, with masks over it."""
        x1, y1, x2, y2 = window
        canvas = fitted(np.ascontiguousarray(picture[y1:y2, x1:x2]), _CELL)
        crops, boxes, labels = [], [], []
        for shape in shapes:
            bitmap = _in_window(rle_to_crop(shape.rle), window)
            small = cv2.resize(bitmap, canvas.shape[1::-1], interpolation=cv2.INTER_NEAREST)
            if small.any():
                rows, columns = np.flatnonzero(small.any(axis=1)), np.flatnonzero(small.any(axis=0))
                crops.append(CroppedMask(0, 0, small.astype(np.bool_)))
                boxes.append((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
                name = self._categories[split][shape.labelled.category_id]
                labels.append(self._names.index(name))
        return draw_instances(
            canvas,
            np.array(boxes, dtype=np.float32).reshape(-1, 4),
            np.array(labels, dtype=np.int64),
            None,
            self._names,
            crops,
        )


def _spread(findings: Sequence[Finding]) -> list[Finding]:
    """Some of many, evenly."""
    if len(findings) <= MOST_CELLS:
        return list(findings)
    return [findings[i] for i in np.linspace(0, len(findings) - 1, MOST_CELLS).astype(int)]


def _window(places: Sequence[Box], height: int, width: int) -> tuple[int, int, int, int]:
    """What of a picture to show so that all places are seen, with room around them."""
    if not places:
        return 0, 0, width, height
    x1, y1 = (min(place[i] for place in places) for i in (0, 1))
    x2, y2 = (max(place[i] for place in places) for i in (2, 3))
    margin = max(_LEAST_MARGIN, _MARGIN * max(x2 - x1, y2 - y1))
    left, top = (
        int(np.clip(edge - margin, 0, side - 1)) for edge, side in ((x1, width), (y1, height))
    )
    right = int(np.clip(x2 + margin, left + 1, width))
    bottom = int(np.clip(y2 + margin, top + 1, height))
    return left, top, right, bottom


def _in_window(crop: CroppedMask, window: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    x1, y1, x2, y2 = window
    bitmap = np.zeros((y2 - y1, x2 - x1), dtype=np.uint8)
    rows, columns = crop.bitmap.shape
    left, top = max(crop.x, x1), max(crop.y, y1)
    right, bottom = min(crop.x + columns, x2), min(crop.y + rows, y2)
    if right > left and bottom > top:
        bitmap[top - y1 : bottom - y1, left - x1 : right - x1] = crop.bitmap[
            top - crop.y : bottom - crop.y, left - crop.x : right - crop.x
        ]
    return bitmap


def _padded(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    canvas = np.full((*size, 3), 255, dtype=np.uint8)
    canvas[: picture.shape[0], : picture.shape[1]] = picture
    return canvas
