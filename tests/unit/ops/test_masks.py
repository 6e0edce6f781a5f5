import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from oracles import masks as oracle
from yolact.ops.masks import (
    assemble_masks,
    binarize_in_image,
    confine_masks,
    crop_bounds,
    crop_masks,
    fade_masks,
    resize_masks,
)

# Sixteenths: also outside of the image, and with corners in either order.
fraction = st.integers(-8, 24).map(lambda n: n / 16)
boxes = st.tuples(fraction, fraction, fraction, fraction)
sizes = st.tuples(st.integers(1, 12), st.integers(1, 12))


def full_bitmap(crop, size):
    bitmap = np.zeros(size, dtype=np.bool_)
    height, width = crop.bitmap.shape
    assert crop.y + height <= size[0]
    assert crop.x + width <= size[1]
    bitmap[crop.y : crop.y + height, crop.x : crop.x + width] = crop.bitmap
    return bitmap


def test_assembles_a_linear_combination():
    prototypes = torch.tensor([[[0.0, 1.0], [2.0, 0.0]], [[0.0, 3.0], [1.0, 0.0]]])
    coefficients = torch.tensor([[1.0, 0.0], [-0.5, 0.5]])
    logits = torch.tensor([[[0.0, 1.0], [2.0, 0.0]], [[0.0, 1.0], [-0.5, 0.0]]])
    torch.testing.assert_close(
        assemble_masks(prototypes, coefficients), 1 / (1 + torch.exp(-logits))
    )


def test_assembles_nothing():
    assert assemble_masks(torch.zeros(3, 4, 5), torch.zeros(0, 3)).shape == (0, 4, 5)


@settings(deadline=None)
@given(boxes, sizes, st.sampled_from([0.0, 1.0, 2.5]))
def test_crops_like_the_oracle(box, size, padding):
    masks = torch.rand(1, *size, dtype=torch.float64) + 1
    cropped = crop_masks(masks, torch.tensor([box], dtype=torch.float64), padding)
    assert cropped[0].tolist() == oracle.crop(masks[0].tolist(), box, padding)


def test_crop_by_hand():
    # 0.45 * 10 = 4.5 and 0.6 * 10 = 6: columns from 3.5 to 7, end excluded.
    row = crop_masks(torch.ones(1, 1, 10), torch.tensor([[0.45, 0.0, 0.6, 1.0]]))[0, 0]
    assert row.tolist() == [0, 0, 0, 0, 1, 1, 1, 0, 0, 0]
    bounds = crop_bounds(torch.tensor([[0.45, 0.0, 0.6, 1.0]]), 1, 10)
    torch.testing.assert_close(bounds, torch.tensor([[3.5, 0.0, 7.0, 1.0]]))


def test_crop_does_not_care_for_the_order_of_corners():
    masks = torch.ones(2, 8, 8)
    swapped = crop_masks(masks, torch.tensor([[0.25, 0.5, 0.5, 0.75], [0.5, 0.75, 0.25, 0.5]]))
    assert torch.equal(swapped[0], swapped[1])


def test_a_box_outside_leaves_nothing():
    outside = torch.tensor([[1.5, 0.0, 2.0, 1.0], [-1.0, 0.0, -0.5, 1.0]])
    assert not crop_masks(torch.ones(2, 8, 8), outside).any()


def test_crop_does_not_change_its_input():
    masks = torch.ones(1, 8, 8)
    crop_masks(masks, torch.tensor([[0.5, 0.5, 0.5, 0.5]]))
    assert masks.all()


@settings(deadline=None)
@given(boxes, sizes, st.sampled_from([0.125, 0.5, 2.0]))
def test_fades_like_the_oracle(box, size, margin):
    masks = torch.rand(1, *size, dtype=torch.float64) + 1
    faded = fade_masks(masks, torch.tensor([box], dtype=torch.float64), margin)
    expected = torch.tensor([oracle.fade(masks[0].tolist(), box, margin)], dtype=torch.float64)
    torch.testing.assert_close(faded, expected)


def test_fade_by_hand():
    # Columns 4 and 5 and one cell around them; then a margin of two cells, half of it per cell.
    row = fade_masks(torch.ones(1, 1, 12), torch.tensor([[4 / 12, 0.0, 6 / 12, 1.0]]), 1.0)[0, 0]
    torch.testing.assert_close(
        row, torch.tensor([0, 0, 0.5, 1, 1, 1, 1, 1, 0.5, 0, 0, 0]), atol=1e-5, rtol=0
    )


def test_choices_of_a_crop_by_hand():
    masks, box = torch.ones(1, 1, 16), torch.tensor([[0.375, 0.0, 0.5, 1.0]])
    counts = {
        (crop, margin): int((confine_masks(masks, box, crop, margin)[0] > 0.5).sum())
        for crop, margin in [("hard", 0.0), ("hard", 1.0), ("soft", 1.5), ("none", 0.0)]
    }
    assert counts == {("hard", 0.0): 4, ("hard", 1.0): 8, ("soft", 1.5): 7, ("none", 0.0): 16}


@settings(deadline=None, max_examples=150)
@given(
    st.lists(boxes, min_size=1, max_size=3),
    sizes,
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from([("hard", 0.0), ("hard", 0.3), ("soft", 0.3), ("soft", 2.0), ("none", 0.0)]),
    st.integers(0, 2**31),
)
def test_every_crop_is_complete_in_the_picture(box_rows, prototype_size, image_size, choice, seed):
    random = torch.Generator().manual_seed(seed)
    masks = torch.rand(len(box_rows), *prototype_size, generator=random)
    masks, reach = confine_masks(masks, torch.tensor(box_rows), *choice)
    crops = binarize_in_image(masks, reach, image_size)
    for mask, crop in zip(masks.tolist(), crops, strict=True):
        soft = np.array(oracle.resize(mask, image_size))
        clear = np.abs(soft - 0.5) > 1e-5
        np.testing.assert_array_equal(full_bitmap(crop, image_size)[clear], (soft > 0.5)[clear])


@settings(deadline=None)
@given(sizes, sizes)
def test_resizes_like_the_oracle(source, target):
    masks = torch.rand(2, *source, dtype=torch.float64)
    resized = resize_masks(masks, target)
    expected = torch.tensor([oracle.resize(mask, target) for mask in masks.tolist()])
    torch.testing.assert_close(resized, expected.double(), atol=1e-6, rtol=0)


def test_resize_by_hand():
    masks = torch.tensor([[[0.0, 1.0]]])
    assert resize_masks(masks, (1, 4)).tolist() == [[[0.0, 0.25, 0.75, 1.0]]]


def test_resize_to_the_same_size_is_the_same():
    masks = torch.rand(2, 3, 4)
    assert torch.equal(resize_masks(masks, (3, 4)), masks)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(boxes, min_size=0, max_size=4),
    st.tuples(st.integers(2, 12), st.integers(2, 12)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from([0.5, 0.1]),
    st.integers(0, 2**31),
)
def test_binarizes_like_interpolate_and_compare(
    box_rows, prototype_size, image_size, threshold, seed
):
    random = torch.Generator().manual_seed(seed)
    given_boxes = torch.tensor(box_rows, dtype=torch.float32).reshape(-1, 4)
    masks = torch.rand(len(box_rows), *prototype_size, generator=random)
    masks = crop_masks(masks, given_boxes)
    crops = binarize_in_image(masks, given_boxes, image_size, threshold)
    assert len(crops) == len(box_rows)
    for mask, crop in zip(masks, crops, strict=True):
        soft = F.interpolate(mask[None, None], image_size, mode="bilinear")[0, 0].numpy()
        clear = np.abs(soft - threshold) > 1e-5  # the sums are rounded differently
        np.testing.assert_array_equal(
            full_bitmap(crop, image_size)[clear], (soft > threshold)[clear]
        )


@settings(deadline=None, max_examples=150)
@given(
    st.lists(boxes, min_size=1, max_size=3),
    sizes,
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(*[st.integers(0, 15)] * 2, *[st.integers(1, 16)] * 2),
    st.sampled_from([("hard", 0.0), ("hard", 0.3), ("soft", 2.0), ("none", 0.0)]),
    st.integers(0, 2**31),
)
def test_a_part_of_the_masks_is_looked_up_pixel_by_pixel(
    box_rows, prototype_size, image_size, corners, choice, seed
):
    left, top, width, height = corners
    region = (left / 16, top / 16, min(left + width, 16) / 16, min(top + height, 16) / 16)
    random = torch.Generator().manual_seed(seed)
    masks = torch.rand(len(box_rows), *prototype_size, generator=random)
    masks, reach = confine_masks(masks, torch.tensor(box_rows), *choice)
    crops = binarize_in_image(masks, reach, image_size, region=region)
    for mask, crop in zip(masks.tolist(), crops, strict=True):
        soft = np.array(oracle.resize(mask, image_size, region))
        clear = np.abs(soft - 0.5) > 1e-5
        np.testing.assert_array_equal(full_bitmap(crop, image_size)[clear], (soft > 0.5)[clear])


def test_a_part_by_hand():
    masks, whole = torch.tensor([[[1.0, 1.0, 0.0, 0.0]]]), torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    crop = binarize_in_image(masks, whole, (1, 4), region=(0.25, 0.0, 0.75, 1.0))[0]
    assert full_bitmap(crop, (1, 4))[0].tolist() == [True, True, False, False]
    left = torch.tensor([[0.0, 0.0, 0.2, 1.0]])
    assert not binarize_in_image(masks, left, (1, 4), region=(0.8, 0.0, 1.0, 1.0))[0].bitmap.size


def test_binarizes_a_realistic_size():
    torch.manual_seed(0)
    centers, sides = torch.rand(30, 2), torch.rand(30, 2) * 0.5
    given_boxes = torch.cat((centers - sides / 2, centers + sides / 2), dim=1)
    coarse = torch.rand(30, 12, 12)
    masks = crop_masks(resize_masks(coarse, (138, 138)), given_boxes)
    crops = binarize_in_image(masks, given_boxes, (480, 641))
    expected = (resize_masks(masks, (480, 641)) > 0.5).numpy()
    found = np.stack([full_bitmap(crop, (480, 641)) for crop in crops])
    assert expected.sum() > 100_000
    assert (found != expected).sum() <= 5


def test_a_pixel_on_the_threshold_is_background():
    crop = binarize_in_image(
        torch.full((1, 4, 4), 0.5), torch.tensor([[0.0, 0.0, 1.0, 1.0]]), (4, 4)
    )
    assert not crop[0].bitmap.any()


@pytest.mark.parametrize("threshold", [0.2, 0.8])
def test_another_threshold(threshold):
    masks = torch.tensor([[[0.0, 1.0]]])
    crop = binarize_in_image(masks, torch.tensor([[0.0, 0.0, 1.0, 1.0]]), (1, 4), threshold)[0]
    expected = {0.2: [False, True, True, True], 0.8: [False, False, False, True]}
    assert full_bitmap(crop, (1, 4))[0].tolist() == expected[threshold]


def test_binarizes_nothing():
    assert binarize_in_image(torch.zeros(0, 138, 138), torch.zeros(0, 4), (480, 640)) == []


def test_a_box_outside_gives_an_empty_crop():
    crop = binarize_in_image(torch.zeros(1, 8, 8), torch.tensor([[2.0, 2.0, 3.0, 3.0]]), (9, 9))[0]
    assert crop.bitmap.shape == (0, 0)


def test_works_on_gradients_and_half_precision():
    masks = torch.rand(1, 8, 8, requires_grad=True)
    whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    expected = binarize_in_image(masks.half().float(), whole, (8, 8))[0].bitmap
    np.testing.assert_array_equal(
        binarize_in_image(masks.half(), whole, (8, 8))[0].bitmap, expected
    )


def test_a_box_that_is_nowhere_has_an_empty_mask():
    boxes = torch.tensor([[0.1, 0.1, float("nan"), 0.9]])
    (mask,) = binarize_in_image(torch.ones(1, 8, 8), boxes, (16, 16))
    assert mask.bitmap.size == 0
