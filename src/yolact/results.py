"""What a user gets for one picture: boxes, scores, labels and masks in pixels of that picture.

Masks are made when somebody reads them, from a few numbers per object. Knows neither the network
nor how pictures are read.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from yolact import files
from yolact.errors import UsageError
from yolact.ops.boxes import WHOLE_INPUT, Region
from yolact.ops.finished_masks import finish_masks
from yolact.ops.masks import CroppedMask
from yolact.ops.rle import RLE, runs_to_rle
from yolact.ops.runs import MaskRuns, mask_area, pack_mask, paste_mask, unpack_mask
from yolact.structures import Detections
from yolact.visualization.draw import draw_instances

if TYPE_CHECKING:
    import supervision as sv

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Polygon:
    """One connected part of a mask, as outlines through the centres of its outermost pixels.

    Coordinates are pixel indices: x = 3 is the fourth column, which a box spans from 3 to 4. The
    pixels on an outline belong to the object, those on the outline of a hole too, so that filling
    all outlines of a mask together by the even-odd rule, outlines included (``cv2.fillPoly``),
    gives exactly the pixels of the mask. A part one pixel wide has an outline without area.
    """

    exterior: NDArray[np.float32]
    """(n, 2) x y, n >= 1; not closed: the last point joins the first."""
    holes: tuple[NDArray[np.float32], ...]
    """Like ``exterior``, one for each hole."""


class Masks:
    """The masks of a picture's objects; one that nobody reads is never made.

    A mask is kept as run lengths, which take a few kilobytes even in large pictures; a bitmap is
    made of them each time one is asked for. Once all of them are made the prototypes they came from
    are let go.
    """

    def __init__(
        self,
        detections: Detections,
        image_size: tuple[int, int],
        *,
        region: Region = WHOLE_INPUT,
    ) -> None:
        """Take what the masks are made of, and make none.

        Args:
            detections: N objects.
            image_size: (height, width) of the picture.
            region: Which part of the network's input shows the picture.
        """
        self._image_size = image_size
        self._region = region
        self._made: list[MaskRuns | None] = [None] * len(detections)
        self._detections = detections if len(detections) else None

    @classmethod
    def from_crops(cls, crops: Iterable[CroppedMask], image_size: tuple[int, int]) -> "Masks":
        """Wrap finished masks, each inside the picture.

        Args:
            crops: One per object.
            image_size: (height, width) of the picture.
        """
        masks = Masks.__new__(Masks)
        masks._image_size = image_size
        masks._region = WHOLE_INPUT
        masks._made = [pack_mask(crop) for crop in crops]
        masks._detections = None
        return masks

    def __len__(self) -> int:
        """Number of objects."""
        return len(self._made)

    def __getitem__(self, index: int) -> NDArray[np.bool_]:
        """(H, W) bitmap of one object; makes that one only."""
        bitmap = np.zeros(self._image_size, dtype=np.bool_)
        paste_mask(self._runs_of(index), bitmap)
        return bitmap

    def __iter__(self) -> Iterator[NDArray[np.bool_]]:
        """(H, W) bitmaps, one after the other."""
        return (self[index] for index in range(len(self)))

    def crop(self, index: int) -> CroppedMask:
        """The smallest window that holds all pixels of one object; 0 x 0 if it has none."""
        return unpack_mask(self._runs_of(index))

    def crops(self) -> list[CroppedMask]:
        """``crop`` of every object."""
        return [unpack_mask(runs) for runs in self.runs()]

    def runs(self) -> list[MaskRuns]:
        """Every mask as it is kept: run lengths within the smallest window that holds it."""
        return self._finished(range(len(self)))

    def select(self, indices: Sequence[int] | NDArray[np.int64]) -> "Masks":
        """The masks of some objects, in the order asked for, as lazy as they were.

        Args:
            indices: Of objects, 0 … N-1.
        """
        chosen = Masks.from_crops((), self._image_size)
        chosen._region = self._region
        chosen._made = [self._made[index] for index in indices]
        if self._detections is not None and None in chosen._made:
            chosen._detections = _take(self._detections, indices)
        return chosen

    def numpy(self) -> NDArray[np.bool_]:
        """(N, H, W) bitmaps."""
        bitmaps = np.zeros((len(self), *self._image_size), dtype=np.bool_)
        for runs, bitmap in zip(self.runs(), bitmaps, strict=True):
            paste_mask(runs, bitmap)
        return bitmaps

    def rle(self) -> list[RLE]:
        """Every mask in COCO's compressed run-length encoding."""
        return [runs_to_rle(runs, self._image_size) for runs in self.runs()]

    def polygons(self, holes: bool = True) -> list[list[Polygon]]:
        """Every mask as outlines: for each object a list of its connected parts.

        An island inside a hole is a part of its own. An empty mask has no parts.

        Args:
            holes: Also the outlines of the holes; without them a part is filled.
        """
        return [_outlines(crop, holes) for crop in self.crops()]

    def area(self) -> NDArray[np.int64]:
        """(N,) number of pixels of each mask."""
        return np.array([mask_area(runs) for runs in self.runs()], dtype=np.int64)

    def _runs_of(self, index: int) -> MaskRuns:
        (runs,) = self._finished([range(len(self))[index]])
        return runs

    def _finished(self, indices: Sequence[int]) -> list[MaskRuns]:
        """The masks of some objects, made now if they were not."""
        detections = self._detections  # another thread may let go of them
        missing = [index for index in indices if self._made[index] is None]
        if detections is not None and missing:
            some = _take(detections, missing)
            made = finish_masks(
                some.prototypes,
                some.coefficients,
                some.boxes,
                self._image_size,
                region=self._region,
                crop=some.crop,
                crop_margin=some.crop_margin,
            )
            for index, new in zip(missing, made, strict=True):
                self._made[index] = new
            if None not in self._made:
                self._detections = None
        return [runs for index in indices if (runs := self._made[index]) is not None]


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """What was found in one picture, best first. The arrays share their first dimension."""

    boxes: NDArray[np.float32]
    """(N, 4) x1 y1 x2 y2, pixels of the original picture, inside it, with their fractions."""
    scores: NDArray[np.float32]
    """(N,) class probabilities in [0, 1], descending. Boxes rank by them."""
    mask_scores: NDArray[np.float32]
    """(N,) by which masks rank: score x predicted mask IoU, 0 or more, of a model that judges its
    masks (YOLACT++); of any other the same as ``scores``."""
    labels: NDArray[np.int64]
    """(N,) 0 … C-1."""
    names: tuple[str, ...]
    """Names of all C classes: ``names[label]``."""
    masks: Masks
    image_size: tuple[int, int]
    """(height, width) of the original picture."""
    path: Path | None = None
    """Where the picture came from."""
    image: NDArray[np.uint8] | None = None
    """(height, width, 3) RGB, for drawing."""

    @classmethod
    def from_detections(
        cls,
        detections: Detections,
        image_size: tuple[int, int],
        names: Sequence[str],
        *,
        region: Region = WHOLE_INPUT,
        path: str | os.PathLike[str] | None = None,
        image: NDArray[np.uint8] | None = None,
    ) -> "Result":
        """Bring detections from the frame of the network input to the one of the picture.

        Args:
            detections: Best score first.
            image_size: (height, width) of the original picture.
            names: Of all classes.
            region: Which part of the network's input shows the picture. What lies outside of it has
                a box without area.
            path: Where the picture came from.
            image: The picture, (height, width, 3) RGB; kept, not copied. Needed to draw.
        """
        scores = detections.scores.detach().float().cpu().numpy()
        rescored = detections.mask_scores
        return cls(
            boxes=_boxes_in_image(detections.boxes, image_size, region),
            scores=scores,
            mask_scores=scores if rescored is None else rescored.detach().float().cpu().numpy(),
            labels=detections.labels.detach().long().cpu().numpy(),
            names=tuple(names),
            masks=Masks(detections, image_size, region=region),
            image_size=image_size,
            path=None if path is None else Path(path),
            image=image,
        )

    def __len__(self) -> int:
        """Number of objects."""
        return len(self.scores)

    def __repr__(self) -> str:
        """Like ``Result(street.jpg, 640x480: 3 person, 1 dog)``; the size is width x height."""
        height, width = self.image_size
        found = Counter(self.names[label] for label in self.labels).most_common()
        summary = ", ".join(f"{number} {name}" for name, number in found) or "nothing found"
        source = f"{self.path.name}, " if self.path else ""
        return f"Result({source}{width}x{height}: {summary})"

    def __getitem__(
        self, key: int | slice | Sequence[int] | Sequence[bool] | NDArray[Any]
    ) -> "Result":
        """Some of the objects, picked as from a NumPy array; an int gives a result with one."""
        indices = np.atleast_1d(np.arange(len(self))[key])
        return replace(
            self,
            boxes=self.boxes[indices],
            scores=self.scores[indices],
            mask_scores=self.mask_scores[indices],
            labels=self.labels[indices],
            masks=self.masks.select(indices),
        )

    def filter(self, score: float) -> "Result":
        """The objects whose class score is above ``score``, in [0, 1] (spec 4.2)."""
        return self[self.scores > score]

    def plot(self) -> NDArray[np.uint8]:
        """A copy of the picture with the objects drawn over it, (height, width, 3) RGB.

        Order and labels show the mask scores.

        Raises:
            UsageError: If the result was made without its picture.
        """
        if self.image is None:
            raise UsageError("This result was made without its picture, so it cannot be drawn.")
        return draw_instances(
            self.image, self.boxes, self.labels, self.mask_scores, self.names, self.masks.crops()
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the drawn picture, in the format its suffix names: .png, .jpg or .jpeg.

        Raises:
            UsageError: If the suffix is another one, or the result was made without its picture.
        """
        suffix = Path(path).suffix
        if suffix.lower() not in PICTURE_SUFFIXES:
            expected = ", ".join(PICTURE_SUFFIXES)
            raise UsageError(f"Cannot save a picture as {suffix or 'nothing'!r}: use {expected}.")
        picture = Image.fromarray(self.plot())
        with files.replacing(path) as temporary:
            picture.save(temporary, quality=95)

    def to_dict(self) -> dict[str, Any]:
        """Everything found, ready for JSON.

        Returns:
            ``path`` (str or None), ``image_size`` [height, width], and ``objects``: a list of
            ``label``, ``name``, ``score``, ``box`` [x1, y1, x2, y2] in pixels and ``mask`` (RLE);
            with ``mask_score`` if the model judges its masks.
        """
        objects = [
            {
                "label": int(label),
                "name": self.names[label],
                **scores,
                "box": box,
                "mask": mask,
            }
            for label, scores, box, mask in zip(
                self.labels,
                self._scores_by_name(),
                map(_short_floats, self.boxes),
                self.masks.rle(),
                strict=True,
            )
        ]
        return {
            "path": None if self.path is None else str(self.path),
            "image_size": list(self.image_size),
            "objects": objects,
        }

    def to_coco(
        self, image_id: int = 1, category_ids: Sequence[int] | None = None
    ) -> list[dict[str, Any]]:
        """COCO results, one entry per object, ready for JSON and for ``COCO.loadRes``.

        Args:
            image_id: The picture's id in its annotation file.
            category_ids: The id of each of the C labels; label + 1 when not given.

        Returns:
            Dicts of ``image_id``, ``category_id``, ``bbox`` [x, y, width, height] in pixels,
            ``score`` and ``segmentation`` (RLE). If the model judges its masks there is
            ``mask_score`` too, by which the masks rank; ``score`` ranks the boxes.
        """
        if category_ids is None:
            category_ids = range(1, len(self.names) + 1)
        corners, sizes = self.boxes[:, :2], self.boxes[:, 2:] - self.boxes[:, :2]
        return [
            {
                "image_id": image_id,
                "category_id": int(category_ids[label]),
                "bbox": _short_floats(box),
                **scores,
                "segmentation": mask,
            }
            for label, scores, box, mask in zip(
                self.labels,
                self._scores_by_name(),
                np.concatenate((corners, sizes), axis=1),
                self.masks.rle(),
                strict=True,
            )
        ]

    def to_supervision(self) -> "sv.Detections":
        """The same as ``supervision.Detections``, with full-size masks and ``class_name``."""
        import supervision as sv

        return sv.Detections(
            xyxy=self.boxes,
            mask=self.masks.numpy(),
            confidence=self.scores,
            class_id=self.labels,
            data={"class_name": np.array([self.names[label] for label in self.labels], dtype=str)},
        )

    def _scores_by_name(self) -> list[dict[str, float]]:
        """For every object its score, and its mask score if that is another."""
        scores = _short_floats(self.scores)
        if np.array_equal(self.scores, self.mask_scores):
            return [{"score": score} for score in scores]
        mask_scores = _short_floats(self.mask_scores)
        return [
            {"score": score, "mask_score": mask_score}
            for score, mask_score in zip(scores, mask_scores, strict=True)
        ]


def _boxes_in_image(
    boxes: torch.Tensor, image_size: tuple[int, int], region: Region
) -> NDArray[np.float32]:
    """Fractions of the input to pixels of the picture, corners in order, clamped (spec 4.2).

    The original clamps the near corner below and the far one above only, and truncates. Here both
    corners are clamped at both ends, so that a box outside the picture is empty, not inverted.
    """
    height, width = image_size
    limits = np.array((width, height), dtype=np.float32)
    near, far = np.array(region, dtype=np.float32).reshape(2, 2)
    fractions = boxes.detach().float().cpu().numpy().reshape(-1, 2, 2)
    corners = (fractions - near) / (far - near) * limits
    ordered = np.concatenate((corners.min(axis=1), corners.max(axis=1)), axis=1)
    return ordered.clip(0, np.tile(limits, 2))


def _take(detections: Detections, indices: Sequence[int] | NDArray[np.int64]) -> Detections:
    chosen = torch.as_tensor(np.asarray(indices, dtype=np.int64), device=detections.boxes.device)
    return replace(
        detections,
        boxes=detections.boxes[chosen],
        scores=detections.scores[chosen],
        labels=detections.labels[chosen],
        coefficients=detections.coefficients[chosen],
        mask_scores=None if detections.mask_scores is None else detections.mask_scores[chosen],
    )


def _outlines(mask: CroppedMask, with_holes: bool) -> list[Polygon]:
    if not mask.bitmap.size:
        return []
    contours, hierarchy = cv2.findContours(
        mask.bitmap.view(np.uint8),
        cv2.RETR_CCOMP,
        cv2.CHAIN_APPROX_SIMPLE,
        offset=(mask.x, mask.y),
    )
    points = [contour.reshape(-1, 2).astype(np.float32) for contour in contours]
    parents = hierarchy[0, :, 3]
    return [
        Polygon(
            points[part],
            tuple(points[hole] for hole in np.flatnonzero(parents == part)) if with_holes else (),
        )
        for part in np.flatnonzero(parents < 0)
    ]


def _short_floats(values: NDArray[np.float32]) -> list[float]:
    """The shortest decimals that still are these float32 numbers: 0.87, not 0.8700000047683716."""
    return [float(str(value)) for value in values]
