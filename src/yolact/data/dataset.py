"""Training samples: a picture and its truth, augmented, at the sizes the network wants."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from yolact.data.augmentations import (
    MIN_OBJECT_SIDE,
    View,
    centers_inside,
    choose_view,
    distort_colours,
    jittered_view,
)
from yolact.data.coco import Annotation, CocoInstances, ImageRecord, decode_mask
from yolact.data.images import read_image
from yolact.errors import DataError
from yolact.ops.masks import CroppedMask
from yolact.processing.preprocess import Preprocessor, stretch
from yolact.structures import Batch, Target

Augmentation = Literal["original", "large-scale", "jitter", "flip", "none"]


@dataclass(frozen=True)
class Sample:
    """One training image, ready to be batched."""

    image: Tensor
    """(3, H, W) float32, normalised."""
    target: Target
    image_id: int


class TrainingSamples(Dataset[Sample]):
    """The samples of one data set. An index is (epoch, position): each pass augments differently.

    A sample depends on the seed and its index alone, not on the process or order that makes it.
    """

    def __init__(
        self,
        instances: CocoInstances,
        preprocessor: Preprocessor,
        mask_size: tuple[int, int],
        *,
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        """Rasterise masks at ``mask_size``, the (height, width) of the prototypes."""
        self.instances = instances
        self.preprocessor = preprocessor
        self.mask_size = mask_size
        self.augmentation = augmentation
        self.seed = seed

    def __len__(self) -> int:
        """Number of images."""
        return len(self.instances.records)

    def __getitem__(self, index: tuple[int, int]) -> Sample:
        """The image at ``index[1]`` as seen in epoch ``index[0]``.

        Raises:
            ImageError: If its file cannot be decoded.
            DataError: If a mask cannot be.
        """
        epoch, position = index
        record = self.instances.records[position]
        rng = np.random.default_rng((self.seed, epoch, position))
        picture = read_image(record.path)
        boxes = np.array([a.box for a in record.annotations], dtype=np.float32).reshape(-1, 4)
        view = self._view(record, boxes, rng)
        image = self._show(picture, view, rng)
        return Sample(
            self.preprocessor.normalize(image),
            self._target(record, boxes, view),
            record.image_id,
        )

    def _view(
        self, record: ImageRecord, boxes: NDArray[np.float32], rng: np.random.Generator
    ) -> View:
        if self.augmentation == "original":
            is_object = np.array([not a.is_crowd for a in record.annotations], dtype=bool)
            return choose_view(record.height, record.width, boxes[is_object], rng)
        if self.augmentation == "jitter":
            return jittered_view(record.height, record.width, rng)
        mirrored = self.augmentation == "flip" and bool(rng.random() < 0.5)
        return View(0, 0, record.width, record.height, mirrored)

    def _show(
        self, picture: NDArray[np.uint8], view: View, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """The network's input (H, W, 3) in 0-255 units; the mean colour where no picture is."""
        height, width = self.preprocessor.image_size
        x1, y1 = max(view.x, 0), max(view.y, 0)
        x2 = min(view.x + view.width, picture.shape[1])
        y2 = min(view.y + view.height, picture.shape[0])
        canvas = np.tile(self.preprocessor.mean, (height, width, 1))
        left = round((x1 - view.x) * width / view.width)
        right = round((x2 - view.x) * width / view.width)
        top = round((y1 - view.y) * height / view.height)
        bottom = round((y2 - view.y) * height / view.height)
        if x2 > x1 and y2 > y1 and right > left and bottom > top:
            part = stretch(picture[y1:y2, x1:x2], (bottom - top, right - left))
            if self.augmentation in ("original", "jitter"):
                part = distort_colours(part, rng)
            canvas[top:bottom, left:right] = part
        return canvas[:, ::-1] if view.mirrored else canvas

    def _target(self, record: ImageRecord, boxes: NDArray[np.float32], view: View) -> Target:
        mapped = view.map_boxes(boxes)
        height, width = self.preprocessor.image_size
        sides = (mapped[:, 2:] - mapped[:, :2]) * (width, height)
        kept = np.flatnonzero(centers_inside(view, boxes) & (sides >= MIN_OBJECT_SIDE).all(axis=1))
        annotations = [record.annotations[i] for i in kept]
        masks = np.zeros((len(annotations), *self.mask_size), dtype=np.uint8)
        for mask, annotation in zip(masks, annotations, strict=True):
            if not annotation.is_crowd:  # of a crowd only the box is ever used
                mask[...] = view.map_mask(_decode(annotation, record), self.mask_size)
        return Target(
            boxes=torch.from_numpy(mapped[kept]),
            labels=torch.tensor([a.label for a in annotations], dtype=torch.int64),
            masks=torch.from_numpy(masks),
            is_crowd=torch.tensor([a.is_crowd for a in annotations], dtype=torch.bool),
        )


def collate(samples: Sequence[Sample]) -> Batch:
    """Put samples into one batch; images of different numbers of objects are fine."""
    return Batch(
        images=torch.stack([sample.image for sample in samples]),
        targets=tuple(sample.target for sample in samples),
        image_ids=tuple(sample.image_id for sample in samples),
    )


def _decode(annotation: Annotation, record: ImageRecord) -> CroppedMask:
    try:
        return decode_mask(annotation.segmentation, record.height, record.width)
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(
            f"a mask of {record.path} (image {record.image_id}) cannot be decoded: {error}."
        ) from error
