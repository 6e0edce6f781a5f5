"""Reading pictures: whatever the file holds becomes RGB uint8, upright."""

import base64
import io
import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import Base
from PIL.TiffImagePlugin import TiffImageFile

from yolact.errors import ImageError

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
)

# What makes a picture of each orientation upright. From 5 on, width and height change places.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_WARNING_FILTERS = Lock()  # they belong to the whole process


def read_image(
    file: str | os.PathLike[str] | BinaryIO, *, name: str | None = None
) -> NDArray[np.uint8]:
    """Read a picture file as RGB uint8 (H, W, 3), turned upright by its EXIF orientation.

    Args:
        file: A path, or something open for reading.
        name: What messages call it, if not by its path.

    Raises:
        ImageError: If there is no such file, it is no picture, it is truncated, or it is so large
            that it must be a trap.
    """
    with _opened(file, name or str(file)) as image:
        _orientation(image)  # Pillow remembers it as in image_sizes, whatever follows the pixels
        image.load()
    return to_rgb(image)


def to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Turn a PIL image of any mode into upright RGB uint8 (H, W, 3).

    Grey becomes three equal channels. 16-bit values are divided by 257, so that their full range
    keeps its meaning. Transparent parts are laid on white, as a viewer shows them.
    """
    image.load()  # of a TIFF file this already turns it, and forgets the orientation
    orientation = _orientation(image)
    if orientation != 1:
        image = image.transpose(_UPRIGHT[orientation])
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        values = np.asarray(image)
        if image.mode == "F":
            values = np.clip(np.nan_to_num(values), 0, None)
            scaled = values * (255 if values.max(initial=0) <= 1 else 1)
        else:
            scaled = values / 257
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
    with _opened(path, str(path)) as image:
        stored = image.height, image.width
        if isinstance(image, TiffImageFile):  # recent Pillow gives the size once turned
            stored = image.tag_v2[Base.ImageLength], image.tag_v2[Base.ImageWidth]
        is_turned = _orientation(image) >= 5
    return (stored[::-1] if is_turned else stored), stored


def read_orientation(path: str | os.PathLike[str]) -> int:
    """1 … 8 as EXIF counts, from the header alone; 1 is upright.

    Raises:
        ImageError: If there is no such file or it is no picture.
    """
    with _opened(path, str(path)) as image:
        return _orientation(image)


@contextmanager
def opened_picture(file: str | os.PathLike[str] | BinaryIO) -> Iterator[BinaryIO]:
    """The bytes of a picture: of the file itself, or of the picture inside a file of LabelMe.

    Raises:
        OSError, ValueError, KeyError, TypeError: If there is no such file, or no picture in it.
    """
    if not isinstance(file, str | os.PathLike):
        yield file
    elif str(file).endswith(".json"):
        document = json.loads(Path(file).read_bytes())
        yield io.BytesIO(base64.b64decode(document["imageData"]))
    else:
        with Path(file).open("rb") as stream:
            yield stream


@contextmanager
def _opened(file: str | os.PathLike[str] | BinaryIO, name: str) -> Iterator[Image.Image]:
    """The picture with its header read; whatever goes wrong is an ImageError."""
    try:
        with opened_picture(file) as stream:
            with _no_warnings():
                image = Image.open(stream)
            with image:
                yield image
    except FileNotFoundError as error:
        raise ImageError(f"there is no picture {name}.") from error
    except Exception as error:  # damaged files make Pillow raise almost anything
        raise ImageError(f"{name} cannot be read as a picture: {error}") from error


def _orientation(image: Image.Image) -> int:
    """1 … 8 as EXIF counts; 1, which is upright, where EXIF data is missing or broken."""
    try:
        with _no_warnings():
            # Not the override for PNG, which decodes all pixels in search of EXIF data behind them.
            orientation = Image.Image.getexif(image).get(Base.Orientation)
    except Exception:  # as above
        return 1
    return orientation if orientation in _UPRIGHT else 1


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Silence what Pillow says of large but possible pictures and of odd headers."""
    with _WARNING_FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def list_images(folder: Path) -> list[Path]:
    """Picture files directly in ``folder``, by suffix, sorted by name."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
