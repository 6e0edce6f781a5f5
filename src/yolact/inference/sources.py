"""What can be segmented: paths, PIL images and arrays; files, folders and globs as typed."""

import glob
import io
import os
import urllib.request
from collections.abc import Iterable
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from yolact.data.images import list_images, read_image, to_rgb
from yolact.errors import ImageError

_URL_SCHEMES = ("http://", "https://")
_URL_TIMEOUT = 30.0  # seconds without an answer
_URL_LIMIT = 256 * 2**20  # bytes

Source = str | os.PathLike[str] | Image.Image | NDArray[np.uint8]


def load_picture(source: Source) -> NDArray[np.uint8]:
    """One picture as RGB uint8 (H, W, 3). A text that starts like a web address is fetched.

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
    if is_url(source):
        return read_image(io.BytesIO(_fetch(str(source))), name=str(source))
    return read_image(source)


def is_url(source: object) -> bool:
    """Whether a source is a web address rather than a file."""
    return isinstance(source, str) and source.lower().startswith(_URL_SCHEMES)


def source_path(source: Source) -> Path | None:
    """What a result calls its source: the file's path, or the last part of a web address."""
    if is_url(source):
        return Path(PurePosixPath(urlsplit(str(source)).path).name or "picture")
    return Path(source) if isinstance(source, str | os.PathLike) else None


def _fetch(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=_URL_TIMEOUT) as answer:
            content: bytes = answer.read(_URL_LIMIT + 1)
    except (OSError, HTTPException, ValueError) as error:
        raise ImageError(f"{url} cannot be fetched: {error}") from error
    if len(content) > _URL_LIMIT:
        raise ImageError(f"{url} is larger than {_URL_LIMIT // 2**20} MiB.")
    return content


def expand_sources(sources: Iterable[str]) -> list[str | Path]:
    """Pictures behind what a user typed: files, folders (not their subfolders), globs, addresses.

    Raises:
        ImageError: If something typed leads to no picture; the message names it.
    """
    found: list[str | Path] = []
    for source in sources:
        if is_url(source):
            found.append(source)
            continue
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
