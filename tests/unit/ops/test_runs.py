import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import masks
from yolact.ops.masks import CroppedMask
from yolact.ops.runs import join_runs, mask_area, pack_mask, paste_mask, unpack_mask

sides = st.integers(1, 14)
bitmaps = st.tuples(sides, sides).flatmap(lambda size: masks(*size))


@given(bitmaps, st.integers(0, 9), st.integers(0, 9))
def test_reading_back_is_exact(bitmap, x, y):
    runs = pack_mask(CroppedMask(x, y, bitmap))
    full = np.zeros((30, 30), dtype=np.bool_)
    full[y : y + bitmap.shape[0], x : x + bitmap.shape[1]] = bitmap
    pasted = np.zeros((30, 30), dtype=np.bool_)
    paste_mask(runs, pasted)
    np.testing.assert_array_equal(pasted, full)
    crop = unpack_mask(runs)
    assert mask_area(runs) == bitmap.sum() == crop.bitmap.sum()
    assert crop.bitmap.shape == (runs.height, runs.width)
    if bitmap.any():  # nothing around it
        rows, columns = full.any(axis=1).nonzero()[0], full.any(axis=0).nonzero()[0]
        assert (crop.y, crop.x) == (rows[0], columns[0])
        assert (runs.height, runs.width) == (np.ptp(rows) + 1, np.ptp(columns) + 1)
    else:
        assert (crop.x, crop.y, crop.bitmap.shape) == (0, 0, (0, 0))


@given(st.lists(bitmaps, max_size=4))
def test_several_objects_at_once(all_bitmaps):
    starts, ends, columns, counts = [], [], [], []
    for bitmap in all_bitmaps:
        steps = np.diff(np.pad(bitmap.astype(int), ((1, 1), (0, 0))).T, axis=1)
        column, start = np.nonzero(steps == 1)
        columns.append(np.append(column, 3))  # and a run without pixels
        starts.append(np.append(start, 5))
        ends.append(np.append(np.nonzero(steps == -1)[1], 5))
        counts.append(len(columns[-1]))
    joined = [np.concatenate((*parts, [])).astype(int) for parts in (columns, starts, ends)]
    found = join_runs(*joined, np.array(counts, dtype=int))
    for runs, bitmap in zip(found, all_bitmaps, strict=True):
        alone = pack_mask(CroppedMask(0, 0, bitmap))
        assert runs[:4] == alone[:4]
        np.testing.assert_array_equal(runs.lengths, alone.lengths)


@pytest.mark.parametrize(
    ("height", "kind"), [(255, np.uint8), (256, np.uint16), (65535, np.uint16), (65536, np.uint32)]
)
def test_lengths_are_kept_in_the_smallest_integers(height, kind):
    runs = pack_mask(CroppedMask(0, 0, np.ones((height, 2), dtype=np.bool_)))
    assert runs.lengths.dtype == kind
    assert unpack_mask(runs).bitmap.all()


def test_a_hundred_masks_in_full_hd_take_less_than_a_megabyte():
    y, x = np.mgrid[:1080, :1920]
    disc = (x - 960) ** 2 / 900**2 + (y - 540) ** 2 / 500**2 < 1
    runs = pack_mask(CroppedMask(0, 0, disc))
    assert 100 * runs.lengths.nbytes < 1_000_000
