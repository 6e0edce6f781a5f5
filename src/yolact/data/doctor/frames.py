"""Labels that were made on a picture as it no longer is: turned, or at another size."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from yolact.data.coco import to_rle
from yolact.data.doctor.pictures import Photo, fits, only_fits_unturned
from yolact.ops.masks import CroppedMask
from yolact.ops.rle import crop_to_rle, rle_to_crop

_SAME_ASPECT = 0.01


@dataclass(frozen=True)
class Frame:
    """Where the labels of a picture belong in it."""

    labelled: tuple[int, int]
    """(height, width) that the labels refer to."""
    size: tuple[int, int]
    """(height, width) of the upright picture."""
    orientation: int = 1
    """EXIF orientation, 5 … 8, that turns the labels upright; 1 if they are."""

    @property
    def changes_labels(self) -> bool:
        """Whether coordinates change."""
        return self.orientation != 1 or self.labelled != self.size

    def map(self, segmentation: Any) -> Any:
        """A readable segmentation on the picture, of the same form.

        Raises:
            ValueError: If it cannot be read.
        """
        if not self.changes_labels:
            return segmentation
        if isinstance(segmentation, list):
            return [self._polygon(np.array(p, dtype=np.float64)) for p in segmentation]
        bitmap = self._bitmap(full_mask(to_rle(segmentation, *self.labelled), self.labelled))
        return crop_to_rle(CroppedMask(0, 0, bitmap), self.size)

    def _polygon(self, numbers: NDArray[np.float64]) -> list[float]:
        height, width = self.labelled
        x, y = numbers[0::2], numbers[1::2]
        if self.orientation == 1:
            x, y = x * self.size[1] / width, y * self.size[0] / height
        elif self.orientation == 5:
            x, y = y, x
        elif self.orientation == 6:
            x, y = height - y, x
        elif self.orientation == 7:
            x, y = height - y, width - x
        else:
            x, y = y, width - x
        mapped: list[float] = np.stack((x, y), axis=1).round(3).ravel().tolist()
        return mapped

    def _bitmap(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        if self.orientation == 1:
            size = (self.size[1], self.size[0])
            resized = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT)
            return np.asarray(resized, dtype=np.bool_)
        turns = {5: mask.T, 6: np.rot90(mask, -1), 7: np.rot90(mask, 2).T, 8: np.rot90(mask)}
        return np.ascontiguousarray(turns[self.orientation])


def find_frame(
    size: tuple[int, int] | None,
    photo: Photo,
    reach: tuple[float, float],
    rle_sizes: set[tuple[int, int]],
) -> Frame | None:
    """What the labels of a picture refer to; None if that cannot be decided safely.

    Args:
        size: (height, width) as the labels have it, if they do.
        photo: The picture.
        reach: Largest (y, x) of the polygons.
        rle_sizes: (height, width) of the RLEs.
    """
    upright = photo.upright
    if size is not None and only_fits_unturned(size, photo, reach):
        return Frame(photo.stored, upright, photo.orientation)
    if size == upright:
        return Frame(upright, upright)
    if (
        size is not None
        and fits(reach, size)
        and rle_sizes <= {size}
        and _same_shape(size, upright)
    ):
        return Frame(size, upright)  # the picture was resized after it was labelled
    if fits(reach, upright) and rle_sizes <= {upright}:
        return Frame(upright, upright)
    return None


def full_mask(rle: dict[str, Any], size: tuple[int, int]) -> NDArray[np.bool_]:
    """(height, width) mask of a compressed RLE."""
    mask = np.zeros(size, dtype=np.bool_)
    crop = rle_to_crop(rle)
    rows, columns = crop.bitmap.shape
    mask[crop.y : crop.y + rows, crop.x : crop.x + columns] = crop.bitmap
    return mask


def _same_shape(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return abs(a[0] * b[1] / (a[1] * b[0]) - 1) <= _SAME_ASPECT
