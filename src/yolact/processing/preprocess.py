"""From an RGB picture to the network's input. The same for every caller and every runtime."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yolact.config.model import ModelConfig
from yolact.ops.boxes import Region

_Number = TypeVar("_Number", int, Tensor)  # a whole number, also one inside an exported graph


@dataclass(frozen=True)
class Placement:
    """Where a picture lies in the network's input: a rectangle of whole pixels of the input."""

    left: int
    top: int
    width: int
    height: int
    input_size: tuple[int, int]
    """(height, width)."""

    @property
    def region(self) -> Region:
        """The rectangle, x1 y1 x2 y2 as fractions of the input."""
        height, width = self.input_size
        return (
            self.left / width,
            self.top / height,
            (self.left + self.width) / width,
            (self.top + self.height) / height,
        )


def fill(input_size: tuple[int, int]) -> Placement:
    """A picture stretched over the whole input."""
    height, width = input_size
    return Placement(0, 0, width, height, input_size)


def fit(picture_size: tuple[int, int], input_size: tuple[int, int]) -> Placement:
    """A picture as large as fits into the input in its own aspect, and in the middle.

    It spans the input one way. The other way two bars are left, both of the same width, which is
    rounded to whole pixels of the input and always leaves the picture some.

    Args:
        picture_size: (height, width).
        input_size: (height, width).
    """
    (height, width), (rows, columns) = picture_size, input_size
    spare = columns * height - rows * width
    left = min(bar(max(spare, 0), height), (columns - 1) // 2)
    top = min(bar(max(-spare, 0), width), (rows - 1) // 2)
    return Placement(left, top, columns - 2 * left, rows - 2 * top, input_size)


def bar(spare: _Number, side: _Number) -> _Number:
    """Half of ``spare / side``, in [0, …), as the nearest whole number, and of two the even one."""
    upwards = (spare + side) // (2 * side)
    is_tie = (spare + side) % (2 * side) == 0
    return upwards - is_tie * (upwards % 2)


class Preprocessor:
    """Brings RGB pictures to the network's input size and normalises them (spec 3).

    They are stretched to it, as published, or keep their aspect, and what is left is the mean
    colour, which is zero once normalised.
    """

    def __init__(self, config: ModelConfig) -> None:
        """Take size, shape, mean and deviation from the model's configuration."""
        self.image_size = config.image_size
        self.letterbox = config.letterbox
        self.mean = np.asarray(config.mean, dtype=np.float32)
        self.std = np.asarray(config.std, dtype=np.float32)

    def __call__(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """RGB uint8 pictures (H, W, 3) of any sizes -> (B, 3, height, width) float32."""
        return torch.stack([self.normalize(self._show(image)) for image in images])

    def placement(self, picture_size: tuple[int, int]) -> Placement:
        """Where a picture of (height, width) lies in the input."""
        return fit(picture_size, self.image_size) if self.letterbox else fill(self.image_size)

    def _show(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        place = self.placement((image.shape[0], image.shape[1]))
        shown = stretch(image, (place.height, place.width))
        if (place.height, place.width) == self.image_size:
            return shown
        canvas = np.tile(self.mean, (*self.image_size, 1))
        canvas[place.top : place.top + place.height, place.left : place.left + place.width] = shown
        return canvas

    def normalize(self, image: NDArray[np.float32]) -> Tensor:
        """An RGB float picture (height, width, 3) in 0-255 units -> (3, height, width)."""
        # Planes first: NumPy is thirty times slower on rows of three values.
        planes = np.array(image.transpose(2, 0, 1), dtype=np.float32, order="C")
        planes -= self.mean[:, None, None]
        planes /= self.std[:, None, None]
        return torch.from_numpy(planes)


def stretch(image: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resize a picture (H, W, 3) to ``size``: bilinear, half-pixel centres, values untouched.

    Done in floats: rounding back to bytes in between would cost up to half a grey level.
    """
    height, width = size
    resized = cv2.resize(image.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.float32)
