"""Training samples: a picture and its truth, augmented, at the sizes the network wants."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from yolact.data.augmentations import (
    View,
    choose_view,
    distort_colours,
    jittered_view,
    large_scale_view,
    tile_view,
)
from yolact.data.cache import ImageCache
from yolact.data.coco import CocoInstances
from yolact.data.compose import (
    Canvas,
    Pane,
    SceneObject,
    Tile,
    covered,
    mosaic_panes,
    rasterise,
    still_visible,
)
from yolact.data.images import read_image
from yolact.processing.preprocess import Preprocessor
from yolact.structures import Batch, Target

Augmentation = Literal["original", "large-scale", "jitter", "flip", "none"]


class SampleIndex(NamedTuple):
    """Which sample; it is always the same for the same index."""

    epoch: int
    position: int
    """Of the image in the data set."""
    closing: bool = False
    """Whether it is for the end of the run, where there is no mosaic any more."""


@dataclass(frozen=True)
class Sample:
    """One training image, ready to be batched."""

    image: Tensor
    """(3, H, W) float32, normalised."""
    target: Target
    image_id: int
    """Of the image that was asked for; parts of others may have been added."""


class TrainingSamples(Dataset[Sample]):
    """The samples of one data set, each pass augmented differently.

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
        copy_paste: float = 0.0,
        mosaic: float = 0.0,
        cache: ImageCache | None = None,
    ) -> None:
        """Choose how samples are made.

        Args:
            instances: Pictures and their objects.
            preprocessor: What the network's input is.
            mask_size: (height, width) of the prototypes, at which masks are rasterised.
            augmentation: How each picture is seen.
            seed: Of all chance.
            copy_paste: Probability that objects of another image are pasted in.
            mosaic: Probability that a sample is put together from four images.
            cache: Decoded pictures, if they are kept.
        """
        self.instances = instances
        self.preprocessor = preprocessor
        self.mask_size = mask_size
        self.augmentation = augmentation
        self.seed = seed
        self.copy_paste = copy_paste
        self.mosaic = mosaic
        self.cache = cache

    def close(self) -> None:
        """Let go of the decoded pictures on disk; nothing else ends."""
        if self.cache is not None:
            self.cache.remove()

    def __len__(self) -> int:
        """Number of images."""
        return len(self.instances.records)

    def __getitem__(self, index: SampleIndex | tuple[int, int]) -> Sample:
        """The image at a position, with whatever is added to it in that epoch.

        Raises:
            ImageError: If a file cannot be decoded.
            DataError: If a mask cannot be.
        """
        epoch, position, closing = SampleIndex(*index)
        rng = np.random.default_rng((self.seed, epoch, position))
        size = self.preprocessor.image_size
        if self.mosaic and not closing and rng.random() < self.mosaic:
            positions = [position, *rng.integers(len(self), size=3).tolist()]
            panes = mosaic_panes(size, rng)
            tiles = [self._mosaic_tile(*each, rng) for each in zip(positions, panes, strict=True)]
        else:
            positions, tiles = [position], [self._tile(position, rng)]
        canvas = self._drawn(positions, tiles, rng)
        objects = [item for tile in tiles for item in tile.objects(size)]
        pasted: list[SceneObject] = []
        if self.copy_paste and rng.random() < self.copy_paste:
            canvas, objects, pasted = self._pasted(canvas, objects, rng)
        return Sample(
            self.preprocessor.normalize(canvas),
            self._target(objects, pasted),
            self.instances.records[position].image_id,
        )

    def _read(self, position: int) -> NDArray[np.uint8]:
        if self.cache is not None:
            return self.cache.read(position)
        return read_image(self.instances.records[position].path)

    def _base(self, position: int) -> View:
        """What prediction would show of a picture."""
        record = self.instances.records[position]
        whole = View(0, 0, record.width, record.height)
        height, width = self.preprocessor.image_size
        return whole.widened(width / height) if self.preprocessor.letterbox else whole

    def _tile(self, position: int, rng: np.random.Generator) -> Tile:
        record, base = self.instances.records[position], self._base(position)
        height, width = self.preprocessor.image_size
        match self.augmentation:
            case "original":
                boxes = [a.box for a in record.annotations if not a.is_crowd]
                view = choose_view(base, np.array(boxes, np.float32).reshape(-1, 4), rng)
            case "jitter":
                view = jittered_view(base, rng)
            case "large-scale":
                view = large_scale_view(base, rng)
            case "flip":
                view = replace(base, mirrored=bool(rng.random() < 0.5))
            case "none":
                view = base
        by_centre = self.augmentation != "large-scale"
        return Tile(record, view, Pane(0, 0, width, height), by_centre)

    def _mosaic_tile(self, position: int, pane: Pane, rng: np.random.Generator) -> Tile:
        part = pane.fractions(self.preprocessor.image_size)
        view = tile_view(self._base(position), part, self.augmentation != "none", rng)
        return Tile(self.instances.records[position], view, pane, by_centre=False)

    def _drawn(
        self, positions: Sequence[int], tiles: Sequence[Tile], rng: np.random.Generator
    ) -> Canvas:
        """The network's input (H, W, 3) in 0-255 units; the mean colour where no picture is."""
        canvas = np.tile(self.preprocessor.mean, (*self.preprocessor.image_size, 1))
        for position, tile in zip(positions, tiles, strict=True):
            tile.draw(self._read(position), canvas, lambda part: self._coloured(part, rng))
        return canvas

    def _coloured(self, part: Canvas, rng: np.random.Generator) -> Canvas:
        if self.augmentation in ("original", "jitter", "large-scale"):
            return distort_colours(part, rng)
        return part

    def _pasted(
        self, canvas: Canvas, objects: list[SceneObject], rng: np.random.Generator
    ) -> tuple[Canvas, list[SceneObject], list[SceneObject]]:
        """The canvas with some objects of another image on it, what is left below, and these."""
        size = self.preprocessor.image_size
        position = int(rng.integers(len(self)))
        tile = self._tile(position, rng)
        candidates = [item for item in tile.objects(size) if not item.annotation.is_crowd]
        if not candidates:
            return canvas, objects, []
        count = int(rng.integers(len(candidates))) + 1
        chosen = rng.choice(len(candidates), size=count, replace=False)
        pasted = [candidates[i] for i in sorted(chosen)]
        cover = covered(pasted, size)
        above = self._drawn([position], [tile], rng)
        canvas = np.where(cover[:, :, None], above, canvas)
        return canvas, still_visible(objects, cover), pasted

    def _target(self, objects: list[SceneObject], pasted: list[SceneObject]) -> Target:
        everything = objects + pasted
        masks = rasterise(everything, self.mask_size)
        if pasted:
            masks[: len(objects)] &= ~covered(pasted, self.mask_size)
        boxes = np.array([item.box for item in everything], dtype=np.float32).reshape(-1, 4)
        annotations = [item.annotation for item in everything]
        return Target(
            boxes=torch.from_numpy(boxes),
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
