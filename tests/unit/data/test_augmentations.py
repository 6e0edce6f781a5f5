import math

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from yolact.data import augmentations
from yolact.data.augmentations import (
    View,
    centers_inside,
    choose_view,
    distort_colours,
    jittered_view,
)
from yolact.data.coco import decode_mask, load_coco
from yolact.data.formats.coco import find_split
from yolact.ops.masks import CroppedMask

# --- Boxes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (View(0, 0, 100, 50), [0.1, 0.4, 0.3, 0.8]),
        (View(0, 0, 100, 50, mirrored=True), [0.7, 0.4, 0.9, 0.8]),
        (View(-100, -50, 200, 100), [0.55, 0.7, 0.65, 0.9]),  # the picture in one corner
        (View(20, 30, 40, 20), [0.0, 0.0, 0.25, 0.5]),  # only part of the box is shown
        (View(20, 30, 40, 20, mirrored=True), [0.75, 0.0, 1.0, 0.5]),
        (View(15, 25, 5, 5), [0.0, 0.0, 1.0, 1.0]),  # within the box
    ],
)
def test_map_boxes(view, expected):
    boxes = np.array([[10, 20, 30, 40]], dtype=np.float32)
    mapped = view.map_boxes(boxes)
    assert mapped.dtype == np.float32
    np.testing.assert_allclose(mapped, [expected], atol=1e-6)


def test_boxes_outside_the_window_shrink_to_nothing():
    mapped = View(50, 50, 10, 10).map_boxes(np.array([[0, 0, 20, 20]], dtype=np.float32))
    assert (mapped[:, 2:] - mapped[:, :2] == 0).all()


def test_no_boxes():
    assert View(0, 0, 5, 5, mirrored=True).map_boxes(np.zeros((0, 4), np.float32)).shape == (0, 4)


def test_centres_on_the_edge_are_not_inside():
    boxes = np.array([[0, 0, 20, 20], [10, 10, 14, 14], [0, 10, 20, 14]], dtype=np.float32)
    np.testing.assert_array_equal(centers_inside(View(10, 10, 10, 10), boxes), [False, True, False])


# --- Masks ----------------------------------------------------------------------------------------


def bilinear(bitmap, x, y):
    """The mask at a point, in pixel centres, zero all around."""
    total, left, top = 0.0, math.floor(x), math.floor(y)
    for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        if 0 <= row < bitmap.shape[0] and 0 <= column < bitmap.shape[1]:
            total += bitmap[row, column] * (1 - abs(x - column)) * (1 - abs(y - row))
    return total


def mean_in_cells(mask, view, size):
    """Slow oracle: the mean of four samples of the mask in each cell of the output."""
    means = np.zeros(size)
    for row in range(size[0]):
        for column in range(size[1]):
            for dy in (0.25, 0.75):
                for dx in (0.25, 0.75):
                    x = (column + dx) * view.width / size[1]
                    y = (row + dy) * view.height / size[0]
                    x = view.width - x if view.mirrored else x
                    means[row, column] += 0.25 * bilinear(
                        mask.bitmap, x + view.x - 0.5 - mask.x, y + view.y - 0.5 - mask.y
                    )
    return means


VIEWS = [
    View(0, 0, 40, 30),
    View(-25, -13, 90, 70),  # far beyond the picture on all sides
    View(7, 3, 21, 17),  # a part
    View(-10, 12, 25, 40),  # beyond on two sides, cut on the others
    View(14, 9, 3, 2),  # magnified
    View(33, 25, 60, 60),  # a corner
]


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("view", VIEWS)
def test_map_mask_equals_the_slow_oracle(view, mirrored):
    rng = np.random.default_rng(0)
    view = View(view.x, view.y, view.width, view.height, mirrored)
    coarse = rng.random((5, 6)) > 0.4
    for bitmap in (np.kron(coarse, np.ones((4, 4))) > 0, np.ones((24, 24)) > 0, coarse):
        mask = CroppedMask(9, 4, bitmap)
        mapped = view.map_mask(mask, (15, 20))
        means = mean_in_cells(mask, view, (15, 20))
        assert mapped.dtype == np.uint8
        assert set(np.unique(mapped)) <= {0, 1}
        # OpenCV places samples to a 32nd of a pixel, so near the threshold either is right.
        clear = np.abs(means - 0.5) > 0.03
        assert clear.mean() > 0.8
        np.testing.assert_array_equal(mapped[clear], means[clear] > 0.5)


def test_map_mask_where_nothing_is_interpolated():
    mask = CroppedMask(2, 1, np.array([[1, 1], [1, 0]], dtype=bool))
    assert View(0, 0, 6, 4).map_mask(mask, (4, 6)).tolist() == [
        [0, 0, 0, 0, 0, 0],
        [0, 0, 1, 1, 0, 0],
        [0, 0, 1, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
    ]
    assert View(0, 0, 6, 4, mirrored=True).map_mask(mask, (4, 6)).tolist() == [
        [0, 0, 0, 0, 0, 0],
        [0, 0, 1, 1, 0, 0],
        [0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 0],
    ]
    assert View(-1, 1, 4, 3).map_mask(mask, (3, 4)).tolist() == [
        [0, 0, 0, 1],
        [0, 0, 0, 1],
        [0, 0, 0, 0],
    ]


def test_map_mask_shows_nothing_where_nothing_is():
    empty = CroppedMask(0, 0, np.zeros((0, 0), dtype=bool))
    assert not View(0, 0, 9, 9).map_mask(empty, (4, 4)).any()
    away = CroppedMask(100, 100, np.ones((5, 5), dtype=bool))
    assert not View(0, 0, 50, 50).map_mask(away, (4, 4)).any()


def test_mirroring_mirrors():
    rng = np.random.default_rng(1)
    mask = CroppedMask(5, 2, np.kron(rng.random((4, 5)) > 0.5, np.ones((6, 6))) > 0)
    straight = View(-3, 1, 48, 32).map_mask(mask, (16, 24))
    mirrored = View(-3, 1, 48, 32, mirrored=True).map_mask(mask, (16, 24))
    np.testing.assert_array_equal(mirrored, straight[:, ::-1])


def test_map_mask_agrees_with_area_averaging_on_real_objects(real_data):
    instances = load_coco(*find_split(real_data / "coco_cc", "val"))
    overlaps = []
    for record in instances.records[:40]:
        for annotation in record.annotations:
            crop = decode_mask(annotation.segmentation, record.height, record.width)
            whole = np.zeros((record.height, record.width), dtype=np.float32)
            rows, columns = crop.bitmap.shape
            whole[crop.y : crop.y + rows, crop.x : crop.x + columns] = crop.bitmap
            expected = cv2.resize(whole, (138, 138), interpolation=cv2.INTER_AREA) > 0.5
            mapped = View(0, 0, record.width, record.height).map_mask(crop, (138, 138)) > 0
            if (mapped | expected).any():
                overlaps.append((mapped & expected).sum() / (mapped | expected).sum())
    assert len(overlaps) > 150
    assert np.mean(overlaps) > 0.95


# --- Choosing a view ------------------------------------------------------------------------------


@st.composite
def scenes(draw):
    """Height, width and boxes of a picture; many boxes are degenerate or touch a corner."""
    height, width = draw(st.integers(1, 400)), draw(st.integers(1, 400))
    boxes = []
    for _ in range(draw(st.integers(0, 4))):
        x = sorted(draw(st.tuples(*[st.sampled_from([0, width]) | st.floats(0, width)] * 2)))
        y = sorted(draw(st.tuples(*[st.sampled_from([0, height]) | st.floats(0, height)] * 2)))
        boxes.append([x[0], y[0], x[1], y[1]])
    return height, width, np.array(boxes, dtype=np.float32).reshape(-1, 4)


def overlap(view, box):
    """IoU of a window and a box."""
    x = min(box[2], view.x + view.width) - max(box[0], view.x)
    y = min(box[3], view.y + view.height) - max(box[1], view.y)
    shared = max(x, 0) * max(y, 0)
    area = (box[2] - box[0]) * (box[3] - box[1])
    return shared / (area + view.width * view.height - shared)


def chosen_view(scene, seed):
    height, width, boxes = scene
    return choose_view(View(0, 0, width, height), boxes, np.random.default_rng(seed))


def chosen(scene, seed, min_ious=None):
    """The view of a scene, and the canvas that it was cropped from."""
    canvases = []
    crop = augmentations._crop

    def recording_crop(view, boxes, rng):
        canvases.append(view)
        return crop(view, boxes, rng)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(augmentations, "_crop", recording_crop)
        if min_ious is not None:
            patch.setattr(augmentations, "_CROP_MIN_IOUS", min_ious)
        view = chosen_view(scene, seed)
    return view, canvases[0]


def is_whole(view, canvas):
    return (view.x, view.y, view.width, view.height) == (
        canvas.x,
        canvas.y,
        canvas.width,
        canvas.height,
    )


SEEDS = st.integers(0, 2**32)


@settings(max_examples=300, deadline=None)
@given(scenes(), SEEDS)
@example((1, 1, np.zeros((0, 4), np.float32)), 0)
@example((1, 1, np.array([[0, 0, 1, 1]], np.float32)), 1)
@example((300, 400, np.array([[0, 0, 0, 0]], np.float32)), 2)
@example((300, 400, np.array([[400, 300, 400, 300]], np.float32)), 3)
@example((400, 1, np.array([[0, 7, 1, 7]], np.float32)), 4)
def test_views_keep_their_promises(scene, seed):
    height, width, boxes = scene
    view, canvas = chosen(scene, seed)
    # The canvas holds the picture and is at most four times as large.
    assert canvas.x <= 0 <= width <= canvas.x + canvas.width + 1
    assert canvas.y <= 0 <= height <= canvas.y + canvas.height + 1
    assert width <= canvas.width <= 4 * width
    assert height <= canvas.height <= 4 * height
    # The window lies in the canvas.
    assert canvas.x <= view.x < view.x + view.width <= canvas.x + canvas.width
    assert canvas.y <= view.y < view.y + view.height <= canvas.y + canvas.height
    if is_whole(view, canvas):
        return
    # Sides are rounded down to whole pixels after the check of their ratio.
    assert view.height + 1 >= 0.5 * view.width
    assert view.height <= 2 * (view.width + 1)
    assert view.width >= int(0.3 * canvas.width)
    assert view.height >= int(0.3 * canvas.height)
    if len(boxes):
        x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
        assert any(
            view.x < x[i] < view.x + view.width and view.y < y[i] < view.y + view.height
            for i in range(len(boxes))
        )


@settings(max_examples=100, deadline=None)
@given(scenes(), SEEDS, st.sampled_from([0.1, 0.3, 0.7, 0.9]))
@example((200, 200, np.array([[20, 20, 180, 180]], np.float32)), 0, 0.7)
@example((200, 200, np.array([[50, 50, 150, 150]], np.float32)), 5, 0.3)
def test_a_crop_overlaps_an_object_as_much_as_was_asked(scene, seed, min_iou):
    view, canvas = chosen(scene, seed, (None, min_iou))
    if len(scene[2]) and not is_whole(view, canvas):
        assert max(overlap(view, box) for box in scene[2]) >= min_iou - 1e-5


def test_all_kinds_of_views_occur():
    scene = (200, 300, np.array([[100, 50, 220, 160]], dtype=np.float32))
    views, canvases = zip(*(chosen(scene, seed) for seed in range(400)), strict=True)
    assert 160 < sum(view.mirrored for view in views) < 240
    assert 160 < sum(canvas.width > 300 for canvas in canvases) < 240
    whole = sum(map(is_whole, views, canvases))
    # One in six rounds asks for no crop; hard conditions lead to another round.
    assert 400 / 6 - 25 < whole < 200
    assert any(view.x < 0 for view in views)
    assert any(view.x + view.width > 300 for view in views)


@given(st.integers(1, 2000), st.integers(1, 2000), st.integers(0, 2**31))
def test_jittered_windows_lie_in_the_picture_or_around_it(height, width, seed):
    view = jittered_view(View(0, 0, width, height), np.random.default_rng(seed))
    for start, length, side in ((view.x, view.width, width), (view.y, view.height, height)):
        assert length >= 1
        if length <= side:
            assert 0 <= start <= side - length
        else:
            assert side - length <= start <= 0
        assert side / 1.8 - 1 <= length <= side * 1.8 + 1  # zoom of 1.6, aspect of 1.25


def test_jitter_zooms_in_and_out_and_mirrors():
    views = [
        jittered_view(View(0, 0, 400, 300), np.random.default_rng(seed)) for seed in range(200)
    ]
    assert min(view.width for view in views) < 300
    assert max(view.width for view in views) > 530
    assert {view.mirrored for view in views} == {False, True}


def test_the_same_chance_gives_the_same_view():
    scene = (200, 300, np.array([[100, 50, 220, 160]], dtype=np.float32))
    views = [chosen_view(scene, seed) for seed in (1, 1, 2)]
    assert views[0] == views[1] != views[2]


# --- Colours --------------------------------------------------------------------------------------


def noise():
    return np.random.default_rng(5).uniform(0, 255, (12, 9, 3)).astype(np.float32)


def test_distorting_leaves_its_input_alone():
    image = noise()
    for seed in range(40):
        distorted = distort_colours(image, np.random.default_rng(seed))
        assert distorted.dtype == np.float32
        assert distorted.shape == image.shape
        assert not np.shares_memory(distorted, image)
        np.testing.assert_array_equal(image, noise())


def test_distorting_depends_on_chance_alone():
    one, same, other = (distort_colours(noise(), np.random.default_rng(s)) for s in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_grey_stays_grey():
    """Hue and saturation have no say there; brightness and contrast act as a line."""
    levels = np.linspace(40, 215, 24, dtype=np.float32)
    grey = np.repeat(levels.reshape(4, 6, 1), 3, axis=2)
    slopes, shifts = [], []
    for seed in range(200):
        distorted = distort_colours(grey, np.random.default_rng(seed))
        np.testing.assert_allclose(distorted, distorted[..., :1].repeat(3, axis=2), atol=1e-3)
        slope, offset = np.polyfit(levels, distorted[..., 0].ravel(), 1)
        np.testing.assert_allclose(distorted[..., 0].ravel(), slope * levels + offset, atol=0.01)
        slopes.append(slope)
        shifts.append(offset / slope)  # brightness comes before contrast
    assert 0.5 <= min(slopes) < 0.6
    assert 1.4 < max(slopes) <= 1.5
    assert -32.01 <= min(shifts) < -28
    assert 28 < max(shifts) <= 32.01


def test_hue_turns_a_little():
    red = np.full((2, 2, 3), (200, 0, 0), dtype=np.float32)
    others = [distort_colours(red, np.random.default_rng(s))[0, 0] for s in range(200)]
    # Within 18 degrees of red, green or blue reaches 30 % of what red has beyond the third.
    for r, g, b in others:
        low = min(g, b)
        assert max(g, b) - low <= 0.301 * (r - low)
    assert any(g > b + 1 for _, g, b in others)
    assert any(b > g + 1 for _, g, b in others)


def test_values_are_not_clipped():
    white = np.full((2, 2, 3), 255, dtype=np.float32)
    black = np.zeros((2, 2, 3), dtype=np.float32)
    assert max(distort_colours(white, np.random.default_rng(s)).max() for s in range(50)) > 300
    assert min(distort_colours(black, np.random.default_rng(s)).min() for s in range(50)) < -10
