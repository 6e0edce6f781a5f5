import dataclasses

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from yolact.config.model import ModelConfig
from yolact.data.augmentations import View
from yolact.data.coco import Annotation, CocoInstances, ImageRecord
from yolact.data.compose import (
    Pane,
    Tile,
    covered,
    mosaic_panes,
    rasterise,
    still_visible,
)
from yolact.data.dataset import SampleIndex, TrainingSamples
from yolact.processing.preprocess import Preprocessor, stretch

SIZE = (64, 96)  # of the network's input
MASKS = (16, 24)
CONFIG = ModelConfig(class_names=("a", "b"), image_size=SIZE)
WHOLE = Pane(0, 0, 96, 64)


def rectangle(x1, y1, x2, y2, label=0, *, is_crowd=False):
    corners = [[x1, y1, x2, y1, x2, y2, x1, y2]]
    return Annotation(label, (x1, y1, x2, y2), corners, is_crowd)


def record(*annotations, height=64, width=96, path="nowhere.png", image_id=1):
    return ImageRecord(image_id, path, height, width, tuple(annotations))


def objects(*annotations):
    """Their places on a canvas as large as their picture."""
    tile = Tile(record(*annotations), View(0, 0, 96, 64), WHOLE)
    return tile.objects(SIZE)


# --- Tiles ----------------------------------------------------------------------------------------


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def same(part):
    return part


def test_a_picture_in_one_pane_leaves_the_rest():
    picture, canvas = noise(64, 96), np.full((64, 96, 3), -1, np.float32)
    Tile(record(), View(0, 0, 96, 64), Pane(10, 20, 40, 50)).draw(picture, canvas, same)
    np.testing.assert_array_equal(canvas[20:50, 10:40], picture[20:50, 10:40])
    canvas[20:50, 10:40] = -1
    assert (canvas == -1).all()


def test_a_pane_shows_its_part_of_the_mirrored_picture():
    picture, canvas = noise(64, 96), np.full((64, 96, 3), -1, np.float32)
    Tile(record(), View(0, 0, 96, 64, mirrored=True), Pane(10, 20, 40, 50)).draw(
        picture, canvas, same
    )
    np.testing.assert_array_equal(canvas[20:50, 10:40], picture[:, ::-1][20:50, 10:40])


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(
    "view", [View(0, 0, 40, 30), View(-31, -17, 100, 77), View(5, 4, 20, 13), View(-9, 8, 33, 50)]
)
def test_panes_together_show_what_one_tile_shows(view, mirrored):
    """Up to where a resampled pixel begins: every pane resamples only what it shows."""
    view = dataclasses.replace(view, mirrored=mirrored)
    smooth = cv2.resize(noise(5, 6), (40, 30), interpolation=cv2.INTER_CUBIC)
    whole, parts = (np.full((64, 96, 3), 50, np.float32) for _ in range(2))
    Tile(record(), view, WHOLE).draw(smooth, whole, same)
    for pane in (
        Pane(0, 0, 37, 29),
        Pane(37, 0, 96, 29),
        Pane(0, 29, 37, 64),
        Pane(37, 29, 96, 64),
    ):
        Tile(record(), view, pane).draw(smooth, parts, same)
    difference = np.abs(whole - parts).max(axis=2)
    assert np.median(difference) < 6
    assert (difference > 60).mean() < 0.03


def test_a_window_beside_the_picture_shows_nothing():
    canvas = np.zeros((64, 96, 3), np.float32)
    for view in (View(200, 0, 30, 30), View(0, -80, 30, 30)):
        Tile(record(), view, WHOLE).draw(noise(64, 96), canvas, same)
    assert not canvas.any()


def test_objects_belong_to_the_pane_that_shows_them():
    annotations = rectangle(10, 10, 30, 30), rectangle(50, 10, 70, 30), rectangle(25, 40, 55, 60)
    left = Tile(record(*annotations), View(0, 0, 96, 64), Pane(0, 0, 48, 64))
    assert [item.annotation for item in left.objects(SIZE)] == [annotations[0], annotations[2]]
    cut = left.objects(SIZE)[1]
    assert cut.box == pytest.approx((25 / 96, 40 / 64, 0.5, 60 / 64))
    assert cut.cells(SIZE).x + cut.cells(SIZE).bitmap.shape[1] == 48
    right = dataclasses.replace(left, pane=Pane(48, 0, 96, 64))
    assert [item.annotation for item in right.objects(SIZE)] == [annotations[1]]
    # A quarter of the third is seen there, but not its centre.
    by_share = dataclasses.replace(right, pane=Pane(47, 0, 96, 64), by_centre=False)
    assert [item.annotation for item in by_share.objects(SIZE)] == [annotations[1], annotations[2]]
    less = dataclasses.replace(by_share, pane=Pane(48, 0, 96, 64))
    assert [item.annotation for item in less.objects(SIZE)] == [annotations[1]]


@given(st.integers(4, 700), st.integers(4, 700), st.integers(0, 2**31))
def test_four_panes_are_the_canvas(height, width, seed):
    count = np.zeros((height, width), int)
    for pane in mosaic_panes((height, width), np.random.default_rng(seed)):
        assert pane.right > pane.left
        assert pane.bottom > pane.top
        count[pane.top : pane.bottom, pane.left : pane.right] += 1
    assert (count == 1).all()


# --- Covering -------------------------------------------------------------------------------------


def cover(x1, y1, x2, y2):
    area = np.zeros(SIZE, bool)
    area[y1:y2, x1:x2] = True
    return area


def test_what_is_not_covered_stays_as_it_is():
    items = objects(rectangle(10.3, 10.6, 30.2, 40.9))
    assert still_visible(items, cover(40, 0, 96, 64)) == items


def test_a_hidden_side_moves_to_what_is_visible():
    items = objects(rectangle(10.25, 10.5, 30, 40))
    (left,) = still_visible(items, cover(20, 0, 96, 64))
    assert left.box == pytest.approx((10.25 / 96, 10.5 / 64, 20 / 96, 40 / 64))
    (below,) = still_visible(items, cover(0, 0, 96, 33))
    assert below.box == pytest.approx((10.25 / 96, 33 / 64, 30 / 96, 40 / 64))
    (hollow,) = still_visible(items, cover(15, 15, 25, 35))
    assert hollow.box == items[0].box  # a hole in the middle moves no side


def test_what_is_hidden_too_much_vanishes():
    items = objects(rectangle(10, 10, 50, 30))
    assert still_visible(items, cover(0, 0, 45, 64))  # an eighth is left
    assert not still_visible(items, cover(0, 0, 47, 64))  # three of forty columns are
    assert not still_visible(items, cover(0, 0, 96, 64))
    # What is left is more than a tenth, and thinner than any object may be.
    assert not still_visible(objects(rectangle(10, 10, 30, 30)), cover(0, 0, 27, 64))


def test_crowds_keep_their_box_until_they_are_gone():
    items = objects(rectangle(10, 10, 50, 30, is_crowd=True))
    assert still_visible(items, cover(20, 0, 96, 64)) == items
    assert not still_visible(items, cover(0, 0, 96, 64))


def test_objects_without_a_single_cell_are_judged_by_their_box():
    (item,) = objects(rectangle(10, 10, 30, 30))
    nothing = np.zeros((0, 0), bool)
    ghost = dataclasses.replace(item, mask=item.mask._replace(bitmap=nothing))
    assert not ghost.cells(SIZE).bitmap.any()
    assert still_visible([ghost], cover(40, 0, 96, 64)) == [ghost]
    assert not still_visible([ghost], cover(0, 0, 96, 64))


def test_the_union_is_that_of_the_masks():
    items = objects(
        rectangle(3, 3, 30, 30), rectangle(20, 20, 60, 50), rectangle(0, 0, 96, 64, is_crowd=True)
    )
    union = covered(items, MASKS)
    np.testing.assert_array_equal(union, rasterise(items, MASKS).any(axis=0))
    assert not covered([], MASKS).any()


# --- Samples --------------------------------------------------------------------------------------


@st.composite
def annotations(draw):
    """Objects anywhere in a picture of 60 x 80, from one pixel to all of it, some of them crowds."""
    x = sorted(draw(st.tuples(st.floats(0, 79), st.floats(0, 79))))
    y = sorted(draw(st.tuples(st.floats(0, 59), st.floats(0, 59))))
    return rectangle(
        x[0], y[0], x[1] + 1, y[1] + 1, draw(st.integers(0, 1)), is_crowd=draw(st.booleans())
    )


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(3):
        Image.fromarray(cv2.resize(noise(6, 8, number), (80, 60))).save(folder / f"{number}.png")
    return folder


def dataset(folder, *contents):
    records = tuple(
        record(*each, height=60, width=80, path=folder / f"{number % 3}.png", image_id=number)
        for number, each in enumerate(contents)
    )
    return CocoInstances(folder / "x.json", CONFIG.class_names, (1, 2), records, {})


def samples_of(data, *, letterbox=False, **how):
    how = {"augmentation": "none", "seed": 0} | how
    preprocessor = Preprocessor(dataclasses.replace(CONFIG, letterbox=letterbox))
    return TrainingSamples(data, preprocessor, MASKS, **how)


def is_same(one, other):
    fields = ("boxes", "labels", "masks", "is_crowd")
    return torch.equal(one.image, other.image) and all(
        torch.equal(getattr(one.target, f), getattr(other.target, f)) for f in fields
    )


@settings(max_examples=120, deadline=None)
@given(
    st.lists(st.lists(annotations(), max_size=5), min_size=1, max_size=3),
    st.sampled_from(["original", "large-scale", "jitter", "flip", "none"]),
    st.sampled_from([0.0, 1.0]),
    st.sampled_from([0.0, 1.0]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_whatever_is_put_together_keeps_its_promises(
    pictures, contents, augmentation, copy_paste, mosaic, closing, letterbox, seed
):
    how = {
        "augmentation": augmentation,
        "copy_paste": copy_paste,
        "mosaic": mosaic,
        "letterbox": letterbox,
        "seed": seed,
    }
    data = dataset(pictures, *contents)
    index = SampleIndex(0, len(contents) - 1, closing)
    sample, again = samples_of(data, **how)[index], samples_of(data, **how)[index]
    assert is_same(sample, again)
    assert sample.image.shape == (3, *SIZE)
    assert sample.image.isfinite().all()
    target, count = sample.target, len(sample.target.labels)
    assert target.boxes.shape == (count, 4)
    assert target.masks.shape == (count, *MASKS)
    assert target.is_crowd.shape == (count,)
    assert ((target.boxes >= 0) & (target.boxes <= 1)).all()
    sides = (target.boxes[:, 2:] - target.boxes[:, :2]) * torch.tensor([96.0, 64.0])
    assert (sides >= 4 - 1e-3).all()
    assert not target.masks[target.is_crowd].any()
    # A mask reaches at most a cell beyond its box.
    boxes = target.boxes.numpy() * (24, 16, 24, 16)
    for (x1, y1, x2, y2), mask in zip(boxes, target.masks.numpy(), strict=True):
        rows, columns = mask.nonzero()
        assert ((x1 - 1 <= columns) & (columns + 1 <= x2 + 1)).all()
        assert ((y1 - 1 <= rows) & (rows + 1 <= y2 + 1)).all()
    most = max(map(len, contents)) * (5 if copy_paste else 4)
    assert count <= most


def test_closing_samples_have_no_mosaic(pictures):
    data = dataset(pictures, *[[rectangle(5, 5, 70, 55)]] * 3)
    plain, mosaic = samples_of(data), samples_of(data, mosaic=1.0)
    for position in range(3):
        for epoch in range(3):
            closing = mosaic[SampleIndex(epoch, position, closing=True)]
            assert is_same(closing, plain[SampleIndex(epoch, position)])
            assert not is_same(closing, mosaic[SampleIndex(epoch, position, closing=False)])


def test_a_mosaic_without_objects_and_of_one_picture(pictures):
    samples = samples_of(dataset(pictures, []), mosaic=1.0, copy_paste=1.0)
    target = samples[SampleIndex(0, 0)].target
    assert target.boxes.shape == (0, 4)
    assert target.masks.shape == (0, *MASKS)


def test_a_pasted_object_is_in_the_picture_and_on_top(tmp_path):
    """White squares on a white picture are pasted onto black pictures with a large object."""
    Image.fromarray(np.zeros((64, 96, 3), np.uint8)).save(tmp_path / "0.png")
    Image.fromarray(np.full((64, 96, 3), 255, np.uint8)).save(tmp_path / "1.png")
    below = rectangle(8, 8, 88, 56)
    above = [rectangle(16, 16, 32, 32, 1), rectangle(40, 24, 64, 40, 1)]
    crowd = rectangle(0, 0, 96, 64, 1, is_crowd=True)
    contents = [below], [*above, crowd]
    records = tuple(
        record(*each, path=tmp_path / f"{number}.png", image_id=number)
        for number, each in enumerate(contents)
    )
    data = CocoInstances(tmp_path / "x.json", CONFIG.class_names, (1, 2), records, {})
    samples = samples_of(data, copy_paste=1.0)
    plain = samples_of(data)[SampleIndex(0, 0)]
    counts = set()
    for epoch in range(30):
        sample = samples[SampleIndex(epoch, 0)]
        target, mean = sample.target, sample.image.mean(dim=0)
        if is_same(sample, plain):  # its own object was pasted over it
            continue
        assert not target.is_crowd.any()
        counts.add(len(target.labels))
        if target.labels.tolist()[:1] == [0] and 1 in target.labels:
            pasted = target.masks[target.labels == 1].amax(dim=0)
            assert not (target.masks[0] & pasted).any()
            whole = target.masks.amax(dim=0)
            assert torch.equal(whole, plain.target.masks[0])
            fine = torch.kron(pasted, torch.ones(4, 4, dtype=torch.uint8)) > 0
            assert torch.equal(mean > 0, fine)
    assert counts >= {2, 3}


def test_six_hundred_objects(pictures):
    many = [
        rectangle(x * 2.6, y * 3, x * 2.6 + 2.5, y * 3 + 3) for x in range(30) for y in range(20)
    ]
    data = dataset(pictures, many, [rectangle(0, 0, 80, 60)])
    samples = samples_of(data, augmentation="flip", copy_paste=1.0)
    counts = [len(samples[SampleIndex(epoch, 1)].target.labels) for epoch in range(4)]
    assert all(0 < count <= 601 for count in counts)
    assert max(counts) > 0


def test_large_scale_keeps_the_aspect_and_zooms_both_ways(pictures):
    samples = samples_of(dataset(pictures, [rectangle(0, 0, 80, 60)]), augmentation="large-scale")
    sides = []
    for epoch in range(60):
        boxes = samples[SampleIndex(epoch, 0)].target.boxes
        sides += (boxes[:, 2:] - boxes[:, :2]).tolist()
    small = [side for side in sides if side[0] < 0.95]
    assert len(small) > 15
    assert all(abs(width - height) < 0.04 for width, height in small)
    assert any(width == height == 1 for width, height in sides)


def test_letterbox_centres_the_picture_in_its_aspect(pictures):
    data = dataset(pictures, [rectangle(20, 15, 60, 45)])  # 4:3 in 3:2
    sample = samples_of(data, letterbox=True)[SampleIndex(0, 0)]
    picture = np.array(Image.open(pictures / "0.png"))
    columns = np.flatnonzero((sample.image != 0).any(dim=0).any(dim=0).numpy())
    left, right = columns[0], columns[-1] + 1
    assert (left, right) == (5, 91)  # 85 and a third pixels of 96
    expected = (stretch(picture, (64, 86)) - CONFIG.mean) / np.array(CONFIG.std)
    shown = sample.image[:, :, left:right].numpy().transpose(1, 2, 0)
    np.testing.assert_allclose(shown, expected, atol=1e-4)
    x1, y1, x2, y2 = sample.target.boxes[0].tolist()
    assert (y1, y2) == (0.25, 0.75)
    assert x1 + x2 == pytest.approx(1)
    assert (x2 - x1) * 96 == pytest.approx((y2 - y1) * 64 * 40 / 30, abs=0.5)
