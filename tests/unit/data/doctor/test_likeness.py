import io

import numpy as np
import pytest
from PIL import Image

from yolact.data.doctor.likeness import MOST_FLIPS, Look, alike, look_of


def scene(seed, size=(160, 120)):
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    return small.resize(size, Image.Resampling.BICUBIC)


def compressed(picture, quality):
    file = io.BytesIO()
    picture.save(file, format="JPEG", quality=quality)
    return Image.open(file)


SAME = {
    "compressed": lambda p: compressed(p, 40),
    "smaller": lambda p: p.resize((61, 47), Image.Resampling.BILINEAR),
    "larger": lambda p: p.resize((500, 380), Image.Resampling.LANCZOS),
    "brighter": lambda p: p.point(lambda value: min(value + 12, 255)),
}
OTHER = {
    "mirrored": lambda p: p.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "turned": lambda p: p.transpose(Image.Transpose.ROTATE_180),
    "negative": lambda p: p.point(lambda value: 255 - value),
}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("how", SAME)
def test_the_same_picture_is_recognised(how, seed):
    first, second = scene(seed), SAME[how](scene(seed))
    assert alike([look_of(np.array(first)), look_of(np.array(second))]) == [(0, 1)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("how", OTHER)
def test_another_picture_is_not(how, seed):
    first, second = scene(seed), OTHER[how](scene(seed))
    assert alike([look_of(np.array(first)), look_of(np.array(second))]) == []


def test_of_many_pictures_only_the_twins_are_found():
    looks = [look_of(np.array(scene(seed))) for seed in range(300)]
    looks += [look_of(np.array(compressed(scene(seed), 70))) for seed in (7, 111, 299)]
    assert alike(looks) == [(7, 300), (111, 301), (299, 302)]


def test_a_single_shade_looks_like_nothing():
    assert look_of(np.full((40, 40, 3), 90, dtype=np.uint8)) is None
    assert alike([]) == []


def test_all_pairs_within_the_limit_are_found():
    """The search by parts of the bits against every pair."""
    rng = np.random.default_rng(0)
    thumbnail = rng.integers(0, 256, (32, 32), dtype=np.uint8)
    base = [int(code) for code in rng.integers(0, 2**63, 40)]
    codes = list(base)
    for code in base:
        for flips in range(1, 9):
            mask = sum(1 << int(bit) for bit in rng.choice(64, flips, replace=False))
            codes.append(code ^ mask)
    expected = [
        (i, j)
        for i in range(len(codes))
        for j in range(i + 1, len(codes))
        if (codes[i] ^ codes[j]).bit_count() <= MOST_FLIPS
    ]
    assert len(expected) > 200
    assert alike([Look(code, thumbnail) for code in codes]) == expected
