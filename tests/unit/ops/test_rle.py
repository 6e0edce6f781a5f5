import numpy as np
import pytest
from faster_coco_eval.core import mask as decoder
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from pycocotools import mask as oracle

from yolact.ops.masks import CroppedMask
from yolact.ops.rle import RLE, crop_to_rle, labels_to_rles, rle_to_crop


def full_bitmap(crop: CroppedMask, size: tuple[int, int]) -> NDArray[np.bool_]:
    bitmap = np.zeros(size, dtype=np.bool_)
    height, width = crop.bitmap.shape
    bitmap[crop.y : crop.y + height, crop.x : crop.x + width] = crop.bitmap
    return bitmap


def expected_rle(bitmap: NDArray[np.bool_]) -> RLE:
    encoded = oracle.encode(np.asfortranarray(bitmap.astype(np.uint8)))
    return RLE(size=list(bitmap.shape), counts=encoded["counts"].decode())


@st.composite
def crops(draw: st.DrawFn) -> tuple[CroppedMask, tuple[int, int]]:
    height, width = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    y, x = draw(st.integers(0, height)), draw(st.integers(0, width))
    rows, columns = draw(st.integers(0, height - y)), draw(st.integers(0, width - x))
    bits = draw(st.lists(st.booleans(), min_size=rows * columns, max_size=rows * columns))
    bitmap = np.array(bits, dtype=np.bool_).reshape(rows, columns)
    return CroppedMask(x, y, bitmap), (height, width)


@given(crops())
def test_encodes_like_pycocotools_encodes_the_full_bitmap(
    case: tuple[CroppedMask, tuple[int, int]],
) -> None:
    crop, size = case
    bitmap = full_bitmap(crop, size)
    rle = crop_to_rle(crop, size)
    assert rle == expected_rle(bitmap)
    np.testing.assert_array_equal(decoder.decode(rle), bitmap)
    np.testing.assert_array_equal(full_bitmap(rle_to_crop(rle), size), bitmap)


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (1080, 1920)])
def test_a_crop_of_the_whole_image_is_one_run(size: tuple[int, int]) -> None:
    crop = CroppedMask(0, 0, np.ones(size, dtype=np.bool_))
    assert crop_to_rle(crop, size) == expected_rle(np.ones(size, dtype=np.bool_))


def test_an_empty_crop_is_an_empty_mask() -> None:
    rle = crop_to_rle(CroppedMask(0, 0, np.zeros((0, 0), dtype=np.bool_)), (4, 6))
    assert rle == expected_rle(np.zeros((4, 6), dtype=np.bool_))
    assert decoder.decode(rle).shape == (4, 6)
    assert not decoder.decode(rle).any()


def test_long_runs_survive() -> None:
    bitmap = np.zeros((4000, 3000), dtype=np.bool_)
    bitmap[3999, 2999] = True
    rle = crop_to_rle(CroppedMask(2999, 3999, np.ones((1, 1), dtype=np.bool_)), (4000, 3000))
    assert rle == expected_rle(bitmap)


@given(
    arrays.arrays(
        np.uint8,
        arrays.array_shapes(min_dims=2, max_dims=2, max_side=9),
        elements=st.integers(0, 3),
    )
)
def test_every_label_of_a_map_is_a_mask(labels):
    masks = labels_to_rles(labels)
    assert list(masks) == sorted(set(labels.ravel().tolist()) - {0})
    for label, rle in masks.items():
        assert rle == expected_rle(labels == label)
