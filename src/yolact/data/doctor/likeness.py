"""Which pictures look the same: perceptual hashes, found in time that grows with their number.

A hash (64 bits of the signs of low frequencies) survives another compression and another size. Two
pictures are alike if at most :data:`MOST_FLIPS` bits differ and their thumbnails agree, too, since
scenes of the same layout can share a hash.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

MOST_FLIPS = 5
LEAST_CORRELATION = 0.985
"""Of the thumbnails' grey values."""

_SIDE = 32  # of a thumbnail, pixels
_LOW = 8  # frequencies a side that make the hash
_FLATTEST = 2.0  # grey levels of deviation: below, a hash is noise
_REACH = (
    64  # neighbours looked at in a bucket, so that a thousand like frames stay a thousand steps
)


class Look(NamedTuple):
    """What a picture looks like, in a hundred bytes or so."""

    code: int
    """64 bits."""
    thumbnail: NDArray[np.uint8]
    """(32, 32) grey."""


def look_of(image: NDArray[np.uint8]) -> Look | None:
    """The look of an RGB picture (H, W, 3); None for one of a single shade, which says nothing."""
    # Reduced in colour first: turning a photograph grey costs more than the rest.
    small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    thumbnail = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    if thumbnail.std() < _FLATTEST:
        return None
    low = cv2.dct(thumbnail.astype(np.float32))[:_LOW, :_LOW].ravel()
    bits = low > np.median(low[1:])  # the first is the mean brightness
    return Look(int(np.packbits(bits).view(np.uint64)[0]), thumbnail)


def alike(looks: list[Look]) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of pictures that look the same, sorted.

    Codes that differ in five bits agree in one of six parts of their bits, so only pictures that
    share a part are compared, in order of their codes, and only with the next few.
    """
    if len(looks) < 2:
        return []
    codes = np.array([look.code for look in looks], dtype=np.uint64)
    found: set[tuple[int, int]] = set()
    for positions in np.array_split(np.arange(64, dtype=np.uint64), MOST_FLIPS + 1):
        mask = np.bitwise_or.reduce(np.uint64(1) << positions)
        order = np.lexsort((codes, codes & mask))
        part, code = (codes & mask)[order], codes[order]
        for step in range(1, min(_REACH, len(order) - 1) + 1):
            same = part[:-step] == part[step:]
            if not same.any():
                break
            near = same & (np.bitwise_count(code[:-step] ^ code[step:]) <= MOST_FLIPS)
            for first in np.flatnonzero(near):
                i, j = sorted((int(order[first]), int(order[first + step])))
                found.add((i, j))
    return sorted(pair for pair in found if _agree(*(looks[i].thumbnail for i in pair)))


def _agree(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> bool:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1]) >= LEAST_CORRELATION
