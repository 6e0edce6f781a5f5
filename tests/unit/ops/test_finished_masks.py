import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import masks as oracle
from yolact.ops import finished_masks
from yolact.ops.boxes import WHOLE_INPUT, grow_boxes
from yolact.ops.finished_masks import finish_masks
from yolact.ops.masks import assemble_masks, crop_masks, resize_masks
from yolact.ops.runs import paste_mask
from yolact.processing.reference import make_masks
from yolact.structures import Detections

# Sixteenths: also outside of the picture, and with corners in either order.
fraction = st.integers(-8, 24).map(lambda n: n / 16)
boxes = st.tuples(fraction, fraction, fraction, fraction)
cells = st.tuples(st.integers(1, 12), st.integers(1, 12))
pixels = st.tuples(st.integers(1, 60), st.integers(1, 60))
crops = st.sampled_from([("hard", 0.0), ("hard", 0.3), ("soft", 0.3), ("soft", 2.0), ("none", 0.0)])
regions = st.tuples(*[st.integers(0, 15)] * 2, *[st.integers(1, 16)] * 2).map(
    lambda r: (r[0] / 16, r[1] / 16, min(r[0] + r[2], 16) / 16, min(r[1] + r[3], 16) / 16)
)


@pytest.fixture(params=["in the boxes", "as on a device"])
def way(request, monkeypatch):
    """Either of the two ways to find where masks begin and end."""
    if request.param == "as on a device":
        monkeypatch.setattr(finished_masks, "_changes_in_boxes", finished_masks.changes_on_device)


def objects(box_rows, size, seed=0, prototypes=3, steepness=4.0):
    """Detections whose masks are noise; a row of each prototype is empty, as after a ReLU."""
    random = torch.Generator().manual_seed(seed)
    number = len(box_rows)
    planes = torch.randn(prototypes, *size, generator=random).relu() * steepness
    return Detections(
        boxes=torch.tensor(box_rows, dtype=torch.float32).reshape(-1, 4),
        scores=torch.ones(number),
        labels=torch.zeros(number, dtype=torch.int64),
        coefficients=torch.rand(number, prototypes, generator=random) * 2 - 1,
        prototypes=planes,
    )


def bitmaps(found, image_size, region=WHOLE_INPUT, crop="hard", margin=0.0):
    masks = finish_masks(
        found.prototypes,
        found.coefficients,
        found.boxes,
        image_size,
        region=region,
        crop=crop,
        crop_margin=margin,
    )
    full = np.zeros((len(found), *image_size), dtype=np.bool_)
    for mask, bitmap in zip(masks, full, strict=True):
        paste_mask(mask, bitmap)
    return full


def softly(found, image_size, region, crop, margin):
    """Values of all pixels, one by one, in double precision (spec 4.2)."""
    values = []
    reach = grow_boxes(found.boxes, margin).tolist()
    soft = assemble_masks(found.prototypes, found.coefficients).tolist()
    for mask, box, grown in zip(soft, found.boxes.tolist(), reach, strict=True):
        if crop == "soft":
            mask = oracle.fade(mask, box, margin)
        if crop != "none":
            mask = oracle.crop(mask, grown)
        values.append(oracle.resize(mask, image_size, region))
    return np.array(values).reshape(-1, *image_size)


@pytest.mark.usefixtures("way")
@settings(deadline=None, max_examples=120)
@given(st.lists(boxes, max_size=3), cells, pixels, regions, crops, st.integers(0, 2**31))
def test_same_pixels_as_one_by_one(box_rows, size, image_size, region, choice, seed):
    found = objects(box_rows, size, seed)
    values = softly(found, image_size, region, *choice)
    clear = np.abs(values - 0.5) > 2e-6
    result = bitmaps(found, image_size, region, *choice)
    np.testing.assert_array_equal(result[clear], (values > 0.5)[clear])


@pytest.mark.usefixtures("way")
@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(*[st.floats(-0.25, 1.25, width=32)] * 4), min_size=1, max_size=12),
    st.sampled_from([(8, 8), (20, 24), (69, 69)]),
    st.tuples(st.integers(20, 300), st.integers(20, 300)),
    st.sampled_from([2.0, 40.0]),
    st.integers(0, 2**31),
)
def test_same_pixels_as_the_plain_path(box_rows, size, image_size, steepness, seed):
    found = objects(box_rows, size, seed, prototypes=8, steepness=steepness)
    differs = bitmaps(found, image_size) != make_masks(found, image_size).numpy()
    # Between a certain yes and a certain no lies exactly one half, and rounding decides.
    soft = crop_masks(assemble_masks(found.prototypes, found.coefficients), found.boxes)
    values = resize_masks(soft, image_size).numpy()
    assert (np.abs(values[differs] - 0.5) < 1e-6).all()


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("cells", "pixels"), [(80, 1080), (40, 300), (46, 69), (64, 32), (138, 480)]
)
def test_masks_that_end_half_way_between_two_pixels(cells, pixels):
    # Where a mask is certain up to its box, the last bit of a position decides over a whole row.
    step = 1 / cells
    rows = [(0.25 + i * step, 0.125, 0.5 + i * step, 0.5 + i * step) for i in range(cells // 3)]
    found = objects(rows, (cells, cells))
    found.prototypes[:] = 100.0
    found.coefficients[:] = 1.0
    for image_size in ((pixels, 40), (40, pixels)):
        expected = make_masks(found, image_size).numpy()
        assert expected.any()
        np.testing.assert_array_equal(bitmaps(found, image_size), expected)


@pytest.mark.usefixtures("way")
def test_many_objects_in_a_large_picture():
    random = torch.Generator().manual_seed(0)
    centers, sides = torch.rand(2, 40, 2, generator=random)
    corners = torch.cat((centers - sides / 2, centers + sides / 2), dim=1)
    found = objects(corners.tolist(), (138, 138), prototypes=16)
    coarse = torch.randn(1, 16, 12, 12, generator=random)
    found.prototypes[:] = torch.nn.functional.interpolate(coarse, (138, 138), mode="bicubic")[0]
    expected = make_masks(found, (1080, 1920)).numpy()
    assert expected.sum() > 1_000_000
    assert (bitmaps(found, (1080, 1920)) != expected).sum() <= expected.sum() / 1_000_000


@pytest.mark.usefixtures("way")
def test_a_part_by_hand():
    found = objects([(0.0, 0.0, 1.0, 1.0)], (1, 4), prototypes=1)
    found.prototypes[:] = torch.tensor([[[9.0, 9.0, -9.0, -9.0]]])
    found.coefficients[:] = 1.0
    part = (0.25, 0.0, 0.75, 1.0)
    assert bitmaps(found, (1, 4), part)[0].tolist() == [[True, True, False, False]]


@pytest.mark.usefixtures("way")
def test_a_pixel_on_the_threshold_is_background():
    found = objects([(0.0, 0.0, 1.0, 1.0)], (4, 4))
    found.prototypes[:] = 0.0
    assert not bitmaps(found, (9, 9)).any()


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("crop", [("hard", 0.0), ("hard", 0.5), ("soft", 0.5)])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_a_box_that_is_nowhere_has_an_empty_mask(bad, crop):
    found = objects([(0.1, 0.1, 0.9, 0.9), (bad, 0.1, bad, 0.9), (0.2, 0.2, 0.8, 0.7)], (8, 8))
    found.prototypes[:] = 1.0
    found.coefficients[:] = 1.0
    first, second, third = bitmaps(found, (16, 16), WHOLE_INPUT, *crop)
    assert first.any()
    assert not second.any()
    assert third.any()


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_numbers_of_a_network_that_diverged(bad):
    found = objects([(0.1, 0.1, 0.9, 0.9)] * 2, (8, 8))
    found.coefficients[0, 1] = bad
    alone = bitmaps(found, (16, 16))[1]
    np.testing.assert_array_equal(alone, make_masks(found, (16, 16))[1])
    found.prototypes[1, 3, 3] = bad
    assert bitmaps(found, (16, 16)).shape == (2, 16, 16)


@pytest.mark.usefixtures("way")
def test_no_objects():
    assert bitmaps(objects([], (8, 8)), (16, 16)).shape == (0, 16, 16)


def test_gradients_half_precision_and_any_order_in_memory():
    found = objects([(0.1, 0.1, 0.9, 0.9)], (8, 8))
    half = finish_masks(
        found.prototypes.half().requires_grad_(),
        found.coefficients.half(),
        found.boxes,
        (16, 16),
    )
    single = finish_masks(
        found.prototypes.half().float().permute(1, 2, 0).contiguous().permute(2, 0, 1),
        found.coefficients.half().float(),
        found.boxes,
        (16, 16),
    )
    np.testing.assert_array_equal(half[0].lengths, single[0].lengths)
