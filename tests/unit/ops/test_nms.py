import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import nms as oracle
from yolact.ops.nms import fast_nms


def run(boxes, scores, iou_threshold=0.5, top_k=200, max_detections=100):
    """(candidate, label, score) rows from lists."""
    kept, labels, kept_scores = fast_nms(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(scores, dtype=torch.float32),
        iou_threshold=iou_threshold,
        top_k=top_k,
        max_detections=max_detections,
    )
    return list(zip(kept.tolist(), labels.tolist(), kept_scores.tolist(), strict=True))


@st.composite
def cases(draw):
    # Coordinates are multiples of 1/8 and the scores differ, so nothing hangs on rounding or ties.
    number, classes = draw(st.integers(1, 8)), draw(st.integers(1, 3))
    boxes = []
    for _ in range(number):
        x1, y1 = draw(st.integers(0, 6)) / 8, draw(st.integers(0, 6)) / 8
        boxes.append((x1, y1, x1 + draw(st.integers(0, 6)) / 8, y1 + draw(st.integers(0, 6)) / 8))
    order = draw(st.permutations(range(number * classes)))
    scores = [[order[c * number + i] / 64 for i in range(number)] for c in range(classes)]
    return boxes, scores


@settings(deadline=None, max_examples=200)
@given(cases(), st.sampled_from([0.0, 0.3, 0.5, 1.0]), st.integers(1, 9), st.integers(1, 12))
def test_equals_the_oracle(case, iou_threshold, top_k, max_detections):
    boxes, scores = case
    options = {
        "iou_threshold": iou_threshold,
        "top_k": top_k,
        "max_detections": max_detections,
    }
    assert run(boxes, scores, **options) == oracle.fast_nms(boxes, scores, **options)


# Three boxes in a row: each overlaps the next by IoU 0.6, the first and the last by 1/3.
CHAIN = [(0, 0, 4, 1), (1, 0, 5, 1), (2, 0, 6, 1)]


def test_a_suppressed_box_still_suppresses():
    assert run(CHAIN, [[0.75, 0.5, 0.25]]) == [(0, 0, 0.75)]  # greedy NMS would keep the third


def test_classes_do_not_suppress_each_other():
    scores = [[0.75, 0.0, 0.0], [0.0, 0.625, 0.0], [0.0, 0.0, 0.5]]
    assert run(CHAIN, scores, max_detections=3) == [(0, 0, 0.75), (1, 1, 0.625), (2, 2, 0.5)]


def test_an_overlap_of_exactly_the_threshold_is_kept():
    half = [(0, 0, 2, 1), (0, 0, 1, 1)]
    assert len(run(half, [[0.75, 0.5]], iou_threshold=0.5)) == 2
    assert len(run(half, [[0.75, 0.5]], iou_threshold=0.4375)) == 1


def test_there_is_no_second_score_threshold():
    apart = [(0, 0, 1, 1), (2, 2, 3, 3)]
    found = run(apart, [[0.75, 0.0], [0.0, 0.0]])
    assert len(found) == 4
    assert found[0] == (0, 0, 0.75)


def test_of_two_boxes_without_area_the_worse_is_dropped():
    points = [(1, 1, 1, 1), (5, 5, 5, 5)]
    assert run(points, [[0.5, 0.75]]) == [(1, 0, 0.75)]


def test_one_box_without_area_is_kept():
    assert run([(1, 1, 1, 1)], [[0.5]]) == [(0, 0, 0.5)]
    assert len(run([(1, 1, 1, 1), (0, 0, 2, 2)], [[0.5, 0.75]])) == 2


def test_top_k_is_counted_per_class_before_suppression():
    scores = [[0.75, 0.625, 0.5], [0.125, 0.25, 0.375]]
    same = [(0, 0, 1, 1), (0, 0, 1, 1), (3, 3, 4, 4)]
    # The first class spends both places on the pair and never sees the third box.
    assert run(same, scores, top_k=2) == [(0, 0, 0.75), (2, 1, 0.375), (1, 1, 0.25)]


def test_max_detections_counts_over_all_classes():
    apart = [(0, 0, 1, 1), (2, 2, 3, 3)]
    found = run(apart, [[0.75, 0.25], [0.5, 0.625]], max_detections=3)
    assert found == [(0, 0, 0.75), (1, 1, 0.625), (0, 1, 0.5)]


@pytest.mark.parametrize("classes", [1, 80])
def test_no_candidates(classes):
    kept, labels, scores = fast_nms(
        torch.zeros(0, 4),
        torch.zeros(classes, 0),
        iou_threshold=0.5,
        top_k=200,
        max_detections=100,
    )
    assert len(kept) == len(labels) == len(scores) == 0
    assert kept.dtype == labels.dtype == torch.int64
    assert scores.dtype == torch.float32
