"""Decoded pictures kept in one file, shared by all processes that prepare batches.

The file is in the folder for temporary files and not in shared memory, which containers keep small;
the operating system holds it in memory as long as there is room. Whoever needs a picture first
decodes it and leaves it there. The object itself holds nothing but numbers, so that it travels to
workers however they are started.
"""

import contextlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yolact.data.coco import ImageRecord
from yolact.data.images import read_image
from yolact.errors import UsageError

_FAIR_SHARE = 0.5  # of the memory that is free


class ImageCache:
    """The pictures of a data set, each decoded once. Its file goes with it, or with the process.

    The file begins with a byte for each picture, which says that all of its pixels are there.
    """

    def __init__(self, records: Sequence[ImageRecord]) -> None:
        """Prepare an empty file; nothing is decoded yet.

        Raises:
            UsageError: If the folder for temporary files cannot hold it.
        """
        self._records = records
        self._shapes = [(record.height, record.width, 3) for record in records]
        sizes = [record.height * record.width * 3 for record in records]
        self._starts = np.cumsum([len(records), *sizes])
        needed, folder = int(self._starts[-1]), tempfile.gettempdir()
        if needed > shutil.disk_usage(folder).free:
            raise UsageError(
                f"{folder} has no room for the decoded images ({needed / 2**30:.1f} GiB): make room, "
                "set TMPDIR to another folder, or leave cache_images out."
            )
        handle, name = tempfile.mkstemp(prefix="yolact-images-")
        os.close(handle)
        self._path = Path(name)
        weakref.finalize(self, _remove, self._path, os.getpid())
        with self._path.open("r+b") as file:
            file.truncate(needed)

    def read(self, position: int) -> NDArray[np.uint8]:
        """The picture at ``position``, RGB (H, W, 3); not to be written to.

        Raises:
            ImageError: If it is not there yet and its file cannot be decoded.
        """
        shape, start = self._shapes[position], int(self._starts[position])
        with contextlib.suppress(FileNotFoundError), self._path.open("rb") as file:
            file.seek(position)
            if file.read(1) == b"\1":
                return np.asarray(
                    np.memmap(file, dtype=np.uint8, mode="r", offset=start, shape=shape)
                )
        picture = read_image(self._records[position].path)
        if picture.shape == shape:
            self._keep(position, start, picture)
        return picture

    def remove(self) -> None:
        """Delete the file now; a picture that is still asked for is decoded."""
        _remove(self._path, os.getpid())

    def _keep(self, position: int, start: int, picture: NDArray[np.uint8]) -> None:
        # Unbuffered, and the byte last: whoever sees it, sees the pixels.
        try:
            with self._path.open("r+b", buffering=0) as file:
                file.seek(start)
                if file.write(np.ascontiguousarray(picture).data) == picture.nbytes:
                    file.seek(position)
                    file.write(b"\1")
        except OSError:  # the disk has become full since: this one is decoded every time
            return


def image_cache(records: Sequence[ImageRecord], wanted: bool | None) -> ImageCache | None:
    """A cache for these pictures, or none.

    Args:
        records: All pictures that will be read.
        wanted: Whether to have one; None: if all of them fit into half of what is free, of memory
            and of the disk with the temporary files.

    Raises:
        UsageError: If one is wanted and cannot be had.
    """
    if wanted is None:
        needed = sum(record.height * record.width * 3 for record in records)
        free = min(free_memory(), shutil.disk_usage(tempfile.gettempdir()).free)
        wanted = needed <= _FAIR_SHARE * free
    return ImageCache(records) if wanted else None


def free_memory() -> int:
    """Bytes of memory that may still be used, by Linux and its containers; 0 where nobody says."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        values = dict(line.split(":") for line in lines)
        free = int(values["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return 0
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text(encoding="ascii"))
        used = int((group / "memory.current").read_text(encoding="ascii"))
        lines = (group / "memory.stat").read_text(encoding="ascii").splitlines()
        idle = int(dict(line.split() for line in lines)["inactive_file"])  # given up when needed
    except (OSError, KeyError, ValueError):  # no container, or one without a limit
        return free
    return min(free, max(limit - used + idle, 0))


def _remove(path: Path, owner: int) -> None:
    if os.getpid() == owner:  # a worker that ends must not take it from the others
        path.unlink(missing_ok=True)
