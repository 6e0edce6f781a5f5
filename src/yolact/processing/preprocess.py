"""From an RGB picture to the network's input. The same for every caller and every runtime."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yolact.config.model import ModelConfig


class Preprocessor:
    """Stretches RGB pictures to the network's input size and normalises them (spec 3)."""

    def __init__(self, config: ModelConfig) -> None:
        """Take size, mean and deviation from the model's configuration."""
        self.image_size = config.image_size
        self.mean = np.asarray(config.mean, dtype=np.float32)
        self.std = np.asarray(config.std, dtype=np.float32)

    def __call__(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """RGB uint8 pictures (H, W, 3) of any sizes -> (B, 3, height, width) float32."""
        return torch.stack([self.normalize(stretch(image, self.image_size)) for image in images])

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
