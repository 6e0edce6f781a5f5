"""Files as bad discs and cables leave them."""

import numpy as np


def with_wrong_bytes(
    data: bytes, rng: np.random.Generator, count: int, *, among: int | None = None
) -> bytes:
    """``data`` with chance values in ``count`` chance places, of its first ``among`` bytes or of all."""
    damaged = bytearray(data)
    for place in rng.integers(0, among or len(data), count):
        damaged[place] = rng.integers(256)
    return bytes(damaged)
