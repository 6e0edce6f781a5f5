import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import matching as oracle
from yolact.losses.matching import BACKGROUND, IGNORED, claim_best_anchors, match_anchors
from yolact.ops.anchors import generate_anchors
from yolact.ops.boxes import box_iou, cxcywh_to_xyxy

assert (BACKGROUND, IGNORED) == (oracle.BACKGROUND, oracle.NEUTRAL)

NO_BOXES = torch.zeros(0, 4)


def random_boxes(number, random):
    center = torch.rand(number, 2, generator=random, dtype=torch.float64)
    side = torch.rand(number, 2, generator=random, dtype=torch.float64) * 0.6 + 0.02
    return torch.cat((center - side / 2, center + side / 2), dim=1)


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 7), st.integers(0, 3), st.integers(8, 40), st.integers(0, 2**31))
def test_equals_the_oracle(num_boxes, num_crowds, num_anchors, seed):
    # Doubles drawn at random: no two overlaps are equal unless both are zero.
    random = torch.Generator().manual_seed(seed)
    anchors = random_boxes(num_anchors, random)
    anchors = torch.cat(((anchors[:, :2] + anchors[:, 2:]) / 2, anchors[:, 2:] - anchors[:, :2]), 1)
    boxes, crowds = random_boxes(num_boxes, random), random_boxes(num_crowds, random)
    # Some objects that anchors fit well, so that positives other than the forced ones occur.
    boxes[: num_boxes // 2] = cxcywh_to_xyxy(anchors[: num_boxes // 2]) + 0.01
    matched = match_anchors(anchors, boxes, crowds).matched
    assert matched.tolist() == oracle.match(anchors.tolist(), boxes.tolist(), crowds.tolist())


@settings(deadline=None, max_examples=150)
@given(st.integers(1, 8), st.integers(1, 14), st.integers(1, 4), st.integers(0, 2**31))
def test_claims_equal_a_search_of_the_whole_table(objects, anchors, levels, seed):
    # Few distinct values: with ties the first object and its first anchor win, as in a full search.
    random = torch.Generator().manual_seed(seed)
    table = torch.randint(0, levels, (objects, anchors), generator=random) / 4
    assert claim_best_anchors(table).tolist() == oracle.claims(table.tolist())


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 30), st.integers(0, 2**31))
def test_every_object_keeps_an_anchor_of_its_own(number, seed):
    random = torch.Generator().manual_seed(seed)
    one = random_boxes(1, random)
    boxes = one + torch.rand(number, 1, generator=random) * 1e-3  # all compete for the same anchors
    anchors = generate_anchors([(4, 4)], [[16]], (1, 0.5, 2), (64, 64)).double()
    assignment = match_anchors(anchors, boxes, NO_BOXES)
    assert set(assignment.matched[assignment.is_positive].tolist()) == set(range(number))


def anchors_of(*corners):
    boxes = torch.tensor(corners)
    return torch.cat(((boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]), dim=1)


def test_thresholds_by_hand():
    anchors = anchors_of(
        (0.0, 0.0, 1.0, 1.0),  # IoU 1 with the object: it is the one that is claimed
        (0.0, 0.0, 0.5, 1.0),  # 1/2: positive
        (0.0, 0.0, 0.4375, 1.0),  # 7/16: in between
        (0.0, 0.0, 0.375, 1.0),  # 3/8: background
        (2.0, 2.0, 3.0, 3.0),  # 0
    )
    assignment = match_anchors(anchors, torch.tensor([[0.0, 0.0, 1.0, 1.0]]), NO_BOXES)
    assert assignment.matched.tolist() == [0, 0, IGNORED, BACKGROUND, BACKGROUND]
    assert assignment.is_positive.tolist() == [True, True, False, False, False]
    assert assignment.is_ignored.tolist() == [False, False, True, False, False]


def test_at_the_lower_threshold_an_anchor_is_neutral():
    anchors = anchors_of((0.0, 0.0, 5.0, 1.0), (0.0, 0.0, 2.0, 1.0))  # IoU 1 and 2/5
    matched = match_anchors(anchors, torch.tensor([[0.0, 0.0, 5.0, 1.0]]), NO_BOXES).matched
    assert matched.tolist() == [0, IGNORED]


def test_the_better_pair_claims_first():
    anchors = anchors_of((0.0, 0.0, 1.0, 1.0), (4.0, 4.0, 5.0, 5.0))
    loser, winner = (0.0, 0.0, 0.75, 1.0), (0.0, 0.0, 0.875, 1.0)
    matched = match_anchors(anchors, torch.tensor([loser, winner]), NO_BOXES).matched
    assert matched.tolist() == [1, 0]  # the loser takes an anchor that it does not even touch


def test_a_claimed_anchor_leaves_the_object_it_fits_better():
    anchors = anchors_of((0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, 0.875))
    # Both anchors fit the first object best; the second object gets the one that is left.
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.25, 0.25]])
    assert match_anchors(anchors, boxes, NO_BOXES).matched.tolist() == [0, 1]


def test_crowds_excuse_background_but_not_positives():
    anchors = anchors_of(
        (0.0, 0.0, 0.25, 0.25),  # an object's
        (0.5, 0.5, 0.75, 0.75),  # wholly in the crowd
        (0.25, 0.5, 1.25, 1.5),  # 3/4 in it
        (0.0, 0.5, 1.0, 1.5),  # 1/2 in it
    )
    crowd = torch.tensor([[0.5, 0.0, 2.0, 3.0]])
    object_ = torch.tensor([[0.0, 0.0, 0.25, 0.25]])
    matched = match_anchors(anchors, object_, crowd).matched
    assert matched.tolist() == [0, IGNORED, IGNORED, BACKGROUND]
    everywhere = torch.tensor([[0.0, 0.0, 9.0, 9.0]])
    assert match_anchors(anchors, object_, everywhere).matched[0] == 0


def test_only_crowds():
    anchors = anchors_of((0.0, 0.0, 0.25, 0.25), (0.5, 0.5, 0.75, 0.75))
    assignment = match_anchors(anchors, NO_BOXES, torch.tensor([[0.5, 0.5, 1.0, 1.0]]))
    assert assignment.matched.tolist() == [BACKGROUND, IGNORED]


def test_nothing_to_find():
    assignment = match_anchors(anchors_of((0.0, 0.0, 1.0, 1.0)), NO_BOXES, NO_BOXES)
    assert assignment.matched.tolist() == [BACKGROUND]


def test_a_box_of_one_pixel_keeps_its_anchor():
    anchors = generate_anchors([(8, 8)], [[24]], (1, 0.5, 2), (64, 64))
    pixel = torch.tensor([[0.5, 0.5, 0.5 + 1 / 550, 0.5 + 1 / 550]])
    assignment = match_anchors(anchors, pixel, NO_BOXES)
    assert assignment.is_positive.sum() == 1
    claimed = cxcywh_to_xyxy(anchors)[assignment.is_positive]
    assert box_iou(claimed, pixel) == box_iou(cxcywh_to_xyxy(anchors), pixel).max()


def test_more_objects_than_anchors():
    anchors = anchors_of((0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 0.5, 1.0))
    boxes = torch.tensor([[0.0, 0.0, 0.25, 1.0], [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.5, 1.0]])
    assert match_anchors(anchors, boxes, NO_BOXES).matched.tolist() == [1, 2]


def test_other_thresholds():
    anchors = anchors_of((0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 0.5, 1.0))
    object_ = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    strict = match_anchors(anchors, object_, NO_BOXES, positive_iou=0.75, negative_iou=0.625)
    assert strict.matched.tolist() == [0, BACKGROUND]
    with_crowd = match_anchors(anchors, NO_BOXES, object_ * 0.75, crowd_iou=0.25)
    assert with_crowd.matched.tolist() == [IGNORED, IGNORED]


@pytest.mark.parametrize("number", [1, 258])
def test_as_many_objects_as_anchors(number):
    anchors = generate_anchors([(1, number)], [[8]], (1,), (64, 64))
    boxes = cxcywh_to_xyxy(anchors).flip(0)
    matched = match_anchors(anchors, boxes, NO_BOXES).matched
    assert matched.tolist() == list(range(number))[::-1]
