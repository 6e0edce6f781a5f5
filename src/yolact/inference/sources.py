"""What can be segmented: paths, PIL images and arrays; files, folders and globs as typed."""

import glob
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from yolact.data.images import list_images, read_image, to_rgb
from yolact.errors import ImageError

Source = str | os.PathLike[str] | Image.Image | NDArray[np.uint8]


def load_picture(source: Source) -> NDArray[np.uint8]:
    """One picture as RGB uint8 (H, W, 3).

    Raises:
        ImageError: If it cannot be read, or an array is not RGB uint8.
    """
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3 or not source.size:
            raise ImageError(
                f"an array must be RGB uint8 of shape (H, W, 3), not {source.dtype} {source.shape}."
            )
        return source
    if isinstance(source, Image.Image):
        return to_rgb(source)
    return read_image(source)


def expand_sources(sources: Iterable[str]) -> list[Path]:
    """Picture files behind what a user typed: files, folders (not their subfolders), globs.

    Raises:
        ImageError: If something typed leads to no picture; the message names it.
    """
    found: list[Path] = []
    for source in sources:
        path = Path(source)
        if path.is_dir():
            matches = list_images(path)
        elif path.exists():
            matches = [path]
        else:
            matches = sorted(Path(match) for match in glob.glob(source, recursive=True))  # noqa: PTH207
        if not matches:
            raise ImageError(f"{source} is no picture, and no folder or pattern with pictures.")
        found += matches
    return list(dict.fromkeys(found))
