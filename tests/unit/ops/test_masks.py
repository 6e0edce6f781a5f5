import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import masks as oracle
from yolact.ops.masks import (
    assemble_masks,
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
