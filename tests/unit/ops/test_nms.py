import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import nms as oracle
from oracles.boxes import iou
from yolact.config.detection import DetectionConfig
from yolact.ops.nms import cross_class_nms, fast_nms, greedy_nms
from yolact.processing.reference import plain_fast_nms

KINDS = {
    fast_nms: oracle.fast_nms,
    cross_class_nms: oracle.cross_class_nms,
    greedy_nms: oracle.greedy_nms,
}
all_kinds = pytest.mark.parametrize("nms", KINDS)


def run(boxes, scores, nms=fast_nms, iou_threshold=0.5, top_k=200, max_detections=None):
    """(candidate, label, score) rows from lists."""
    kept, labels, kept_scores = nms(
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


# No overlap of two boxes on the grid is 0.31, so none hangs on how the threshold is rounded.
thresholds = st.sampled_from([0.0, 0.31, 0.5, 1.0])


@all_kinds
@settings(deadline=None, max_examples=150)
@given(cases(), thresholds, st.integers(1, 9), st.one_of(st.none(), st.integers(1, 9)))
def test_equals_the_oracle(nms, case, iou_threshold, top_k, most):
    options = {"iou_threshold": iou_threshold, "top_k": top_k}
    expected = KINDS[nms](*case, **options)[:most]
    assert run(*case, nms, max_detections=most, **options) == expected


@st.composite
def hard_cases(draw):
    """Scores that tie, boxes without area, boxes that are nowhere."""
    number, classes = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    corner = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, math.nan])
    boxes = []
    for _ in range(number):
        (x1, x2), (y1, y2) = (sorted((draw(corner), draw(corner))) for _ in range(2))
        boxes.append((x1, y1, x2, y2))
    score = st.integers(0, 3).map(lambda n: n / 4)
    row = st.lists(score, min_size=number, max_size=number)
    return boxes, draw(st.lists(row, min_size=classes, max_size=classes))


@pytest.mark.parametrize("nms", [fast_nms, cross_class_nms])
@settings(deadline=None, max_examples=200)
@given(hard_cases(), thresholds, st.integers(1, 14), st.one_of(st.none(), st.integers(1, 20)))
def test_ties_and_degenerate_boxes_as_in_the_oracle(nms, case, iou_threshold, top_k, most):
    options = {"iou_threshold": iou_threshold, "top_k": top_k}
    expected = KINDS[nms](*case, **options)[:most]
    assert run(*case, nms, max_detections=most, **options) == expected


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 300),
    st.sampled_from([1, 4, 80]),
    st.sampled_from([5, 50, 200]),
    st.sampled_from([1, 20, 100]),
    st.sampled_from([0.02, 0.3]),
    st.integers(0, 2**31),
)
def test_the_best_of_many_are_the_first_of_all(number, classes, top_k, most, spread, seed):
    random = torch.Generator().manual_seed(seed)
    centers = torch.rand(5, 2, generator=random)[torch.arange(number) % 5]
    centers = centers + torch.randn(number, 2, generator=random) * spread
    sides = torch.rand(number, 2, generator=random)
    boxes = torch.cat((centers - sides / 2, centers + sides / 2), dim=1)
    scores = torch.rand(classes, number, generator=random).pow(4)
    options = {"iou_threshold": 0.5, "top_k": top_k}
    found = fast_nms(boxes, scores, max_detections=most, **options)
    # Every class with a matrix of its own, as the specification has it.
    config = DetectionConfig(top_k=top_k, max_detections=100)
    kept, labels, kept_scores = plain_fast_nms(boxes, scores, config)
    order = kept_scores.argsort(descending=True, stable=True)[:most]
    for ours, theirs in zip(found, (kept, labels, kept_scores), strict=True):
        assert torch.equal(ours, theirs[order])


def test_boxes_in_one_place_leave_one_for_each_class():
    scores = torch.rand(80, 500)
    kept, labels, _ = fast_nms(
        torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(500, 4),
        scores,
        iou_threshold=0.5,
        top_k=200,
        max_detections=100,
    )
    assert sorted(labels.tolist()) == list(range(80))
    assert torch.equal(kept, scores.argmax(dim=1)[labels])


@settings(deadline=None)
@given(cases(), thresholds, st.integers(1, 9))
def test_greedy_keeps_all_that_fast_keeps(case, iou_threshold, top_k):
    options = {"iou_threshold": iou_threshold, "top_k": top_k}
    assert set(run(*case, fast_nms, **options)) <= set(run(*case, greedy_nms, **options))


@settings(deadline=None)
@given(cases(), thresholds)
def test_cross_class_reports_a_thing_once(case, iou_threshold):
    found = run(*case, cross_class_nms, iou_threshold=iou_threshold)
    boxes = [case[0][candidate] for candidate, _, _ in found]
    for i, one in enumerate(boxes):
        assert not any(iou(one, other) > iou_threshold for other in boxes[i + 1 :])


# Three boxes in a row: each overlaps the next by IoU 0.6, the first and the last by 1/3.
CHAIN = [(0, 0, 4, 1), (1, 0, 5, 1), (2, 0, 6, 1)]


def test_a_suppressed_box_still_suppresses_except_in_greedy_nms():
    assert run(CHAIN, [[0.75, 0.5, 0.25]]) == [(0, 0, 0.75)]
    assert run(CHAIN, [[0.75, 0.5, 0.25]], cross_class_nms) == [(0, 0, 0.75)]
    assert run(CHAIN, [[0.75, 0.5, 0.25]], greedy_nms) == [(0, 0, 0.75), (2, 0, 0.25)]


def test_classes_suppress_each_other_in_cross_class_nms_only():
    scores = [[0.75, 0.0, 0.0], [0.0, 0.625, 0.0], [0.0, 0.0, 0.5]]
    each = [(0, 0, 0.75), (1, 1, 0.625), (2, 2, 0.5)]
    assert run(CHAIN, scores)[:3] == run(CHAIN, scores, greedy_nms)[:3] == each
    assert run(CHAIN, scores, cross_class_nms) == each[:1]


@all_kinds
def test_an_overlap_of_exactly_the_threshold_is_kept(nms):
    half = [(0, 0, 2, 1), (0, 0, 1, 1)]
    assert len(run(half, [[0.75, 0.5]], nms, iou_threshold=0.5)) == 2
    assert len(run(half, [[0.75, 0.5]], nms, iou_threshold=0.4375)) == 1


def test_greedy_nms_is_exact_in_the_last_of_many_classes():
    # Far from the origin a float32 cannot tell these two overlaps from the threshold.
    pair = [(0.0, 0.0, 1 / 64, 1 / 64), (0.0, 0.0, 1 / 64, 1 / 128 + 2**-24)]
    scores = [[0.5, 0.25]] * 300
    assert len(run(pair, scores, greedy_nms, iou_threshold=0.5)) == 300
    assert len(run(pair, scores, greedy_nms, iou_threshold=0.5 + 2**-16)) == 600


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


@all_kinds
@pytest.mark.parametrize("classes", [1, 80])
def test_no_candidates(nms, classes):
    kept, labels, scores = nms(
        torch.zeros(0, 4), torch.zeros(classes, 0), iou_threshold=0.5, top_k=200
    )
    assert len(kept) == len(labels) == len(scores) == 0
    assert kept.dtype == labels.dtype == torch.int64
    assert scores.dtype == torch.float32
