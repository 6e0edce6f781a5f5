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

    def __init__(self, config: ModelConfig, device: torch.device | None = None) -> None:
        """Take size, shape, mean and deviation from the model's configuration.

        Args:
            config: Of the model.
            device: Where the input is made: a GPU is sent bytes and does the rest; the CPU if None.
        """
        self.device = device or torch.device("cpu")
        self.image_size = config.image_size
        self.letterbox = config.letterbox
        self.mean = np.asarray(config.mean, dtype=np.float32)
        self.std = np.asarray(config.std, dtype=np.float32)

    def __call__(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """RGB uint8 pictures (H, W, 3) of any sizes -> (B, 3, height, width) float32, on the device."""
        if self.device.type != "cpu":
            return self.compute([self._send(image) for image in images])
        batch = torch.empty(len(images), 3, *self.image_size)
        for image, planes in zip(images, batch.numpy(), strict=True):
            self._normalize(self._show(image), planes)
        return batch

    def compute(self, pictures: Sequence[Tensor]) -> Tensor:
        """The same by torch, on the device of the pictures, which are uint8 tensors (H, W, 3)."""
        device = pictures[0].device
        mean, std = (
            torch.from_numpy(values)[:, None, None].to(device) for values in (self.mean, self.std)
        )
        batch = torch.zeros(len(pictures), 3, *self.image_size, device=device)
        for picture, planes in zip(pictures, batch, strict=True):
            place = self.placement((picture.shape[0], picture.shape[1]))
            shown = resample(picture, (place.height, place.width)).permute(2, 0, 1)
            rows = slice(place.top, place.top + place.height)
            columns = slice(place.left, place.left + place.width)
            planes[:, rows, columns] = (shown - mean) / std
        return batch

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
        planes = np.empty((3, *image.shape[:2]), dtype=np.float32)
        self._normalize(image, planes)
        return torch.from_numpy(planes)

    def _normalize(self, image: NDArray[np.float32], planes: NDArray[np.float32]) -> None:
        # Planes first: NumPy is thirty times slower on rows of three values.
        cv2.split(image, list(planes))
        planes -= self.mean[:, None, None]
        planes /= self.std[:, None, None]

    def _send(self, image: NDArray[np.uint8]) -> Tensor:
        """A picture on its way to the device. From pinned memory, a copy need not be waited for."""
        waiting = torch.empty(image.shape, dtype=torch.uint8, pin_memory=self.device.type == "cuda")
        waiting.numpy()[...] = image
        return waiting.to(self.device, non_blocking=True)


def stretch(image: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resize a picture (H, W, 3) to ``size``: bilinear, half-pixel centres, values untouched.

    Done in floats: rounding back to bytes in between would cost up to half a grey level.
    """
    height, width = size
    resized = cv2.resize(image.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.float32)


def resample(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """What :func:`stretch` does to a picture (H, W, 3), on its device: (height, width, 3) float32."""
    shown = picture
    for axis, pixels in enumerate(size):
        # In doubles: of floats a wide picture leaves too few digits for the share.
        position = (np.arange(pixels) + 0.5) * (picture.shape[axis] / pixels) - 0.5
        position = position.clip(0, picture.shape[axis] - 1)
        near = torch.from_numpy(position.astype(np.int64)).to(picture.device)
        share = torch.from_numpy((position % 1).astype(np.float32)).to(picture.device)
        far = (near + 1).clamp(max=picture.shape[axis] - 1)
        first, second = (shown.index_select(axis, index).float() for index in (near, far))
        shown = first + (second - first) * share.view(-1, *[1] * (2 - axis))
    return shown
