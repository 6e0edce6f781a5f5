"""Reading pictures: whatever the file holds becomes RGB uint8, upright."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from yolact.errors import ImageError

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
)

_ROTATED_ORIENTATIONS = frozenset({5, 6, 7, 8})
_EXIF_ORIENTATION = 0x0112


def read_image(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Read a picture file as RGB uint8 (H, W, 3), turned upright by its EXIF orientation.

    Raises:
        ImageError: If there is no such file, it is no picture, or it is truncated.
    """
    try:
        with Image.open(path) as image:
            return to_rgb(image)
    except FileNotFoundError as error:
        raise ImageError(f"there is no picture {path}.") from error
    except (
        UnidentifiedImageError,
        Image.DecompressionBombError,
        OSError,
        SyntaxError,
        ValueError,
    ) as error:
        raise ImageError(f"{path} cannot be read as a picture: {error}") from error


def to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Turn a PIL image of any mode into upright RGB uint8 (H, W, 3).

    Grey becomes three equal channels. 16-bit values are divided by 257, so that their full range
    keeps its meaning. Transparent parts are laid on white, as a viewer shows them.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        values = np.asarray(image)
        if image.mode == "F":
            scaled = values * (255 if values.max(initial=0) <= 1 else 1)
        else:
            scaled = values / 257 if values.max(initial=0) > 255 else values
        grey = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        image = Image.alpha_composite(white, rgba)
    return np.array(image.convert("RGB"))


def image_sizes(path: str | os.PathLike[str]) -> tuple[tuple[int, int], tuple[int, int]]:
    """(height, width) of a picture file upright, and as stored, from its header alone.

    Raises:
        ImageError: If there is no such file or it is no picture.
    """
    try:
        with Image.open(path) as image:
            stored = image.height, image.width
            turned = image.getexif().get(_EXIF_ORIENTATION) in _ROTATED_ORIENTATIONS
            return (stored[::-1] if turned else stored), stored
    except FileNotFoundError as error:
        raise ImageError(f"there is no picture {path}.") from error
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as error:
        raise ImageError(f"{path} cannot be read as a picture: {error}") from error


def list_images(folder: Path) -> list[Path]:
    """Picture files directly in ``folder``, by suffix, sorted by name."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
