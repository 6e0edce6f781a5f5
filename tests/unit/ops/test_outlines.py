import numpy as np
import pytest
from faster_coco_eval.core import mask as coco_mask
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays

from yolact.data.coco import to_rle
from yolact.ops.masks import CroppedMask
from yolact.ops.outlines import join_loops, trace_outlines

BITMAPS = arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=12))


def bitmap(text):
    return np.array([[c == "#" for c in row] for row in text.split()])


def rasterised(loops, size):
    return coco_mask.decode(to_rle([loop.ravel().tolist() for loop in loops], *size)).astype(bool)


def loops_of(mask, x=0, y=0):
    parts = trace_outlines(CroppedMask(x, y, mask))
    return [loop for part in parts for loop in (part.exterior, *part.holes)]


@given(BITMAPS)
@settings(deadline=None, max_examples=300)
def test_one_bridged_polygon_is_the_mask(mask):
    """By COCO's own rasteriser: holes, parts, single pixels, the whole picture."""
    if loops := loops_of(mask):
        assert (rasterised([join_loops(loops)], mask.shape) == mask).all()
    else:
        assert not mask.any()


@given(BITMAPS)
@settings(deadline=None, max_examples=300)
def test_parts_do_not_overlap_and_make_up_the_mask(mask):
    parts = trace_outlines(CroppedMask(0, 0, mask))
    total = np.zeros(mask.shape, dtype=int)
    for part in parts:
        total += rasterised([join_loops([part.exterior, *part.holes])], mask.shape)
    assert (total == mask).all()


@given(BITMAPS)
@settings(deadline=None, max_examples=100)
def test_loops_run_clockwise_and_corners_are_corners(mask):
    for part in trace_outlines(CroppedMask(0, 0, mask)):
        for loop in (part.exterior, *part.holes):
            x, y = loop.T
            assert x @ np.roll(y, -1) > y @ np.roll(x, -1)
            steps = np.roll(loop, -1, axis=0) - loop
            assert ((steps != 0).sum(axis=1) == 1).all()  # along one axis, never of no length
            assert ((steps[:, 0] != 0) != (np.roll(steps, -1, axis=0)[:, 0] != 0)).all()


def test_a_ring_has_one_hole_and_corners_divide():
    (ring,) = trace_outlines(CroppedMask(10, 20, bitmap("### #.# ###")))
    assert ring.exterior.tolist() == [[10, 20], [13, 20], [13, 23], [10, 23]]
    assert [hole.tolist() for hole in ring.holes] == [[[11, 21], [12, 21], [12, 22], [11, 22]]]
    assert len(trace_outlines(CroppedMask(0, 0, bitmap("#. .#")))) == 2
    assert trace_outlines(CroppedMask(0, 0, bitmap(".. .."))) == []
    assert trace_outlines(CroppedMask(0, 0, np.zeros((0, 0), dtype=bool))) == []


@pytest.mark.parametrize("side", [40, 61])
def test_very_many_parts(side):
    """More loops than are joined at once."""
    mask = np.indices((side, side)).sum(axis=0) % 2 == 0
    loops = loops_of(mask)
    assert len(loops) == mask.sum()
    assert (rasterised([join_loops(loops)], mask.shape) == mask).all()
