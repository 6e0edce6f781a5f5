import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import losses as oracle
from yolact.losses.terms import (
    box_loss,
    class_loss,
    downscale_truth,
    mask_iou_loss,
    mask_loss,
    mine_hard_negatives,
    semantic_loss,
)
from yolact.ops.masks import assemble_masks, crop_masks

seeds = st.integers(0, 2**31)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def test_box_loss_by_hand():
    offsets = torch.tensor([[0.0, 0.5, 3.0, -1.0]])
    # 0, 0.5 * 0.25, 3 - 0.5, 0.5 at the joint
    assert box_loss(offsets, torch.zeros(1, 4)).item() == pytest.approx(3.125)
    assert box_loss(torch.zeros(0, 4), torch.zeros(0, 4)).item() == 0


def test_class_loss_by_hand():
    logits = torch.tensor([[0.0, 0.0], [1.0, 3.0]])
    expected = 0.6931472 + 2.1269280  # ln 2, ln(1 + e^2)
    assert class_loss(logits, torch.tensor([1, 0])).item() == pytest.approx(expected)


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 3), st.integers(1, 30), st.integers(0, 3), seeds)
def test_hard_negatives_equal_the_oracle(images, anchors, ratio, seed):
    random = generator(seed)
    logits = torch.randn(images, anchors, 4, generator=random, dtype=torch.float64) * 3
    kind = torch.randint(0, 4, (images, anchors), generator=random)
    positive, ignored = kind == 0, kind == 1
    chosen = mine_hard_negatives(logits, positive, ignored, ratio)
    for i in range(images):
        assert chosen[i].nonzero()[:, 0].tolist() == oracle.hard_negatives(
            logits[i].tolist(), positive[i].tolist(), ignored[i].tolist(), ratio
        )


def test_hard_negatives_by_hand():
    # Background logit 0, one class: the larger its logit, the harder.
    hardness = torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0, 0.0, -1.0, -2.0])
    logits = torch.stack((torch.zeros(8), hardness), dim=1)[None]
    positive = torch.tensor([[True] + [False] * 7])
    ignored = torch.tensor([[False, True] + [False] * 6])
    chosen = mine_hard_negatives(logits, positive, ignored, 3)
    assert chosen[0].nonzero()[:, 0].tolist() == [2, 3, 4]


def test_an_image_without_positives_gets_three_negatives():
    logits = torch.stack((torch.zeros(8), torch.arange(8.0)), dim=1)[None]
    nothing = torch.zeros(1, 8, dtype=torch.bool)
    chosen = mine_hard_negatives(logits, nothing, nothing, 3)
    assert chosen[0].nonzero()[:, 0].tolist() == [5, 6, 7]


def test_images_are_mined_apart():
    logits = torch.randn(2, 20, 3, generator=generator(1))
    positive = torch.zeros(2, 20, dtype=torch.bool)
    positive[0, :2] = True
    chosen = mine_hard_negatives(logits, positive, torch.zeros_like(positive), 3)
    assert chosen.sum(dim=1).tolist() == [6, 3]


def test_large_logits_do_not_overflow():
    logits = torch.tensor([[[0.0, 1000.0], [0.0, -1000.0], [1000.0, 0.0], [0.0, 0.0]]])
    nothing = torch.zeros(1, 4, dtype=torch.bool)
    chosen = mine_hard_negatives(logits, nothing, nothing, 1)
    assert chosen.tolist() == [[True, False, False, False]]


def test_all_anchors_ignored():
    everything = torch.ones(1, 6, dtype=torch.bool)
    chosen = mine_hard_negatives(torch.randn(1, 6, 3), ~everything, everything, 3)
    assert not chosen.any()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 4), st.integers(1, 3), seeds)
def test_mask_loss_equals_the_oracle(positives, objects, seed):
    random = generator(seed)
    prototypes = torch.rand(2, 7, 9, generator=random, dtype=torch.float64) * 3
    coefficients = torch.rand(positives, 2, generator=random, dtype=torch.float64) * 2 - 1
    near = torch.rand(objects, 2, generator=random, dtype=torch.float64) * 0.6
    far = near + 0.05 + torch.rand(objects, 2, generator=random, dtype=torch.float64) * 0.3
    boxes = torch.cat((near, far), dim=1)
    masks = torch.randint(0, 2, (objects, 7, 9), generator=random).double()  # also outside
    matched = torch.randint(0, objects, (positives,), generator=random)
    expected = sum(
        oracle.mask_term(
            prototypes.tolist(), coefficients[i].tolist(), boxes[m].tolist(), masks[m].tolist()
        )
        for i, m in enumerate(matched.tolist())
    )
    predicted = crop_masks(assemble_masks(prototypes, coefficients), boxes[matched])
    loss = mask_loss(predicted, boxes[matched], masks[matched])
    assert loss.item() == pytest.approx(expected)


def test_truth_outside_the_padded_box_costs_100_a_pixel_and_has_no_gradient():
    prototypes = torch.zeros(1, 8, 8, requires_grad=True)
    masks = torch.zeros(1, 8, 8)
    masks[0, 0, 7] = 1  # far from the box
    box = torch.tensor([[0.0, 0.5, 0.25, 0.75]])  # 2 x 2 pixels; 3 columns x 4 rows when padded
    predicted = crop_masks(assemble_masks(prototypes, torch.zeros(1, 1)), box)
    loss = mask_loss(predicted, box, masks)
    assert loss.item() == pytest.approx((12 * 0.6931472 + 100) / 4)
    loss.backward()
    assert not prototypes.grad.any()


def test_saturated_masks_have_finite_gradients():
    prototypes = torch.full((1, 8, 8), 1000.0, requires_grad=True)
    coefficients = torch.tensor([[1.0], [-1.0]], requires_grad=True)
    boxes = torch.tensor([[0.25, 0.25, 0.75, 0.75]]).repeat(2, 1)
    masks = torch.zeros(2, 8, 8)
    masks[:, 3:5, 3:5] = 1
    loss = mask_loss(crop_masks(assemble_masks(prototypes, coefficients), boxes), boxes, masks)
    loss.backward()
    assert loss.isfinite()
    assert prototypes.grad.isfinite().all()
    assert coefficients.grad.isfinite().all()


def test_mask_iou_loss_by_hand():
    predicted = torch.zeros(2, 4, 4)
    predicted[0, :2] = 0.51  # 8 pixels
    predicted[0, 3] = 0.5  # not above the threshold
    predicted[1] = 0.9  # all 16
    masks = torch.zeros(2, 4, 4)
    masks[0, 1:3] = 1  # 8 pixels, 4 in common: 4 / 12
    masks[1, 0] = 1  # 4 / 16
    ious = torch.tensor([0.0, 2.25], requires_grad=True)
    loss = mask_iou_loss(ious, predicted, masks)
    assert loss.item() == pytest.approx(0.5 / 9 + (2 - 0.5))
    loss.backward()
    assert ious.grad.tolist() == pytest.approx([-1 / 3, 1])


def test_mask_iou_loss_of_nothing():
    nothing = torch.zeros(0, 4, 4)
    assert mask_iou_loss(torch.zeros(0), nothing, nothing).item() == 0


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 4), st.sampled_from([(4, 5), (8, 10), (9, 7)]), seeds)
def test_semantic_loss_equals_the_oracle(objects, mask_size, seed):
    random = generator(seed)
    logits = torch.randn(3, 4, 5, generator=random, dtype=torch.float64) * 2
    labels = torch.randint(0, 3, (objects,), generator=random)
    masks = torch.randint(0, 2, (objects, *mask_size), generator=random).double()
    expected = oracle.semantic_term(logits.tolist(), labels.tolist(), masks.tolist())
    images = torch.zeros_like(labels)
    assert semantic_loss(logits[None], images, labels, masks).item() == pytest.approx(expected)


def test_masks_of_a_class_are_united():
    logits = torch.zeros(1, 4, 4)
    logits[0, :2] = 50.0
    logits[0, 2:] = -50.0
    masks = torch.zeros(2, 4, 4)
    masks[0, 0] = 1
    masks[1, :2] = 1  # overlaps the first
    both = torch.tensor([0, 0])
    assert semantic_loss(logits[None], both, both, masks).item() == pytest.approx(0, abs=1e-6)


def test_semantic_loss_of_an_empty_image():
    none = torch.zeros(0, dtype=torch.int64)
    loss = semantic_loss(torch.zeros(1, 2, 4, 4), none, none, torch.zeros(0, 8, 8))
    assert loss.item() == pytest.approx(2 * 0.6931472)  # ln 2 for each class


@settings(deadline=None)
@given(st.integers(2, 12), st.integers(2, 12), seeds)
def test_downscaled_truth_equals_the_oracle(height, width, seed):
    masks = torch.randint(0, 2, (1, height, width), generator=generator(seed)).double()
    small = downscale_truth(masks, (3, 4))
    # Where the four neighbours are in balance rounding decides, which is not what this is about.
    soft = torch.tensor(oracle.mask_oracle.resize(masks[0].tolist(), (3, 4)))
    clear = (soft - 0.5).abs() > 1e-6
    expected = torch.tensor(oracle.downscale(masks[0].tolist(), (3, 4))).double()
    assert torch.equal(small[0][clear], expected[clear])
    assert set(small.unique().tolist()) <= {0.0, 1.0}
