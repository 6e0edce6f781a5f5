import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import boxes as oracle
from yolact.ops.boxes import (
    box_area,
    box_intersection,
    box_iou,
    cxcywh_to_xyxy,
    grow_boxes,
    xyxy_to_cxcywh,
)

# Multiples of 1/8 in [-2, 2]: areas and unions are exact, so equality is the right test.
coordinate = st.integers(-16, 16).map(lambda n: n / 8)


@st.composite
def box(draw):
    x1, x2 = sorted((draw(coordinate), draw(coordinate)))
    y1, y2 = sorted((draw(coordinate), draw(coordinate)))
    return x1, y1, x2, y2


boxes = st.lists(box(), min_size=0, max_size=5)


def tensor(rows):
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


@settings(deadline=None)
@given(boxes)
def test_formats_round_trip(rows):
    given_boxes = tensor(rows)
    assert torch.equal(cxcywh_to_xyxy(xyxy_to_cxcywh(given_boxes)), given_boxes)


def test_formats_by_hand():
    corners = torch.tensor([[1.0, 2.0, 4.0, 8.0]])
    centered = torch.tensor([[2.5, 5.0, 3.0, 6.0]])
    assert torch.equal(xyxy_to_cxcywh(corners), centered)
    assert torch.equal(cxcywh_to_xyxy(centered), corners)


def test_growing_by_hand():
    boxes = torch.tensor([[1.0, 2.0, 3.0, 6.0], [3.0, 6.0, 1.0, 2.0], [1.0, 1.0, 1.0, 1.0]])
    grown = [[0.5, 1.0, 3.5, 7.0], [3.5, 7.0, 0.5, 1.0], [1.0, 1.0, 1.0, 1.0]]
    assert grow_boxes(boxes, 0.25).tolist() == grown
    assert torch.equal(grow_boxes(boxes, 0.0), boxes)


@settings(deadline=None)
@given(boxes, boxes)
def test_overlaps_equal_the_oracle(first, second):
    a, b = tensor(first), tensor(second)
    assert box_area(a).tolist() == [oracle.area(one) for one in first]
    shared = [[oracle.intersection(one, other) for other in second] for one in first]
    assert box_intersection(a, b).tolist() == shared
    iou = torch.tensor([[oracle.iou(one, other) for other in second] for one in first])
    torch.testing.assert_close(
        box_iou(a, b), iou.reshape(len(first), len(second)).float(), equal_nan=True
    )


def test_iou_by_hand():
    one = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    others = torch.tensor(
        [
            [0.0, 0.0, 2.0, 2.0],  # itself
            [1.0, 1.0, 3.0, 3.0],  # 1 of 4 + 4 - 1
            [2.0, 0.0, 4.0, 2.0],  # touches
            [5.0, 5.0, 6.0, 6.0],  # apart
            [0.5, 0.5, 1.5, 1.5],  # inside
            [1.0, 1.0, 1.0, 1.0],  # a point
        ]
    )
    expected = torch.tensor([[1.0, 1 / 7, 0.0, 0.0, 0.25, 0.0]])
    torch.testing.assert_close(box_iou(one, others), expected)


@pytest.mark.parametrize("other", [(1.0, 1.0, 1.0, 1.0), (3.0, 0.0, 3.0, 5.0)])
def test_two_boxes_without_area_have_no_iou(other):
    point = torch.tensor([[1.0, 1.0, 1.0, 1.0]])
    assert box_iou(point, torch.tensor([other])).isnan().all()


def test_batches_of_boxes():
    a, b = torch.rand(3, 4, 4), torch.rand(3, 5, 4)
    together = box_iou(a, b)
    assert together.shape == (3, 4, 5)
    for i in range(3):
        assert torch.equal(together[i], box_iou(a[i], b[i]))
