"""Pictures whose pixel values are the numbers of objects or classes."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_NUMBERS = ("1", "L", "I", "I;16", "I;16B", "F")  # modes of Pillow without colours


def read_label_map(path: Path, *, palette: bool = False) -> NDArray[np.integer[Any]]:
    """The (H, W) numbers in a grey, palette or colour picture of 8 or 16 bits; black is 0.

    Args:
        path: A PNG, or anything without loss.
        palette: Give the colour of each index of a palette, not the index.

    Returns:
        Grey values or indices; a colour as 65536 red + 256 green + blue, 0 where it is transparent.

    Raises:
        OSError: If there is no such file or it is damaged.
    """
    try:
        with Image.open(path) as image:
            if image.mode in _NUMBERS or (image.mode == "P" and not palette):
                values = np.array(image)
                return values if values.dtype.kind == "u" else values.astype(np.int64)
            colours = np.asarray(image.convert("RGBA")).astype(np.int64)
    except FileNotFoundError as error:
        raise OSError("is not there") from error
    except Exception as error:  # damaged files make Pillow raise almost anything
        raise OSError(f"cannot be read as a picture: {error}") from error
    packed: NDArray[np.int64] = colours[:, :, :3] @ np.array((65536, 256, 1))
    return np.where(colours[:, :, 3] == 0, 0, packed)


def write_label_map(path: Path, labels: NDArray[np.int64]) -> None:
    """Write numbers in [0, 2^24) as a PNG: grey of 8 or 16 bits, or colours, whatever holds them."""
    largest = int(labels.max(initial=0))
    if largest < 2**16:
        image = Image.fromarray(labels.astype(np.uint8 if largest < 2**8 else np.uint16))
    else:
        channels = [labels >> 16, labels >> 8 & 255, labels & 255]
        image = Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
