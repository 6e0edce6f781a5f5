"""What lies behind AP, against a slow version written on its own, and by hand."""

import numpy as np
import pytest
from faster_coco_eval.core import mask as rle_api
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import analysis as oracle
from yolact.errors import UsageError
from yolact.evaluation.analysis import ImageError, analyse, curves_by_class
from yolact.evaluation.coco import CocoEvaluator

CLASSES = 3
SIZE = (6, 8)


def encode(bitmap):
    return rle_api.encode(np.asfortranarray(bitmap.astype(np.uint8)))


def evaluator_of(pictures, size=SIZE, classes=CLASSES):
    """Filled with ``(objects, detections)`` as the oracle takes them; ids of pictures from 1, of
    classes 10, 20, …."""
    height, width = size
    truth = {
        "images": [{"id": i + 1, "height": height, "width": width} for i in range(len(pictures))],
        "categories": [{"id": 10 * (k + 1), "name": f"class {k}"} for k in range(classes)],
        "annotations": [
            {
                "image_id": i + 1,
                "category_id": 10 * (label + 1),
                "segmentation": encode(bitmap),
                "iscrowd": int(is_crowd),
            }
            for i, (objects, _) in enumerate(pictures)
            for label, bitmap, is_crowd in objects
        ],
    }
    evaluator = CocoEvaluator(truth)
    for i, (_, detections) in enumerate(pictures):
        evaluator.update(
            i + 1,
            np.zeros((len(detections), 4)),
            [score for _, _, score in detections],
            [10 * (label + 1) for label, _, _ in detections],
            [encode(bitmap) for _, bitmap, _ in detections],
        )
    return evaluator


@st.composite
def rectangles(draw):
    """Few different ones, so that overlaps and ties are common; some have a hole, some are empty."""
    bitmap = np.zeros(SIZE, bool)
    y, x = draw(st.integers(0, 3)), draw(st.integers(0, 5))
    height, width = draw(st.integers(0, 4)), draw(st.integers(1, 5))
    bitmap[y : y + height, x : x + width] = True
    if draw(st.booleans()):
        bitmap[y + 1 : y + height - 1, x + 1 : x + width - 1] = False
    return bitmap


OBJECTS = st.lists(st.tuples(st.integers(0, CLASSES - 1), rectangles(), st.sampled_from([0, 0, 1])))
DETECTIONS = st.lists(
    st.tuples(st.integers(0, CLASSES - 1), rectangles(), st.sampled_from([0.1, 0.3, 0.4, 0.5, 0.9]))
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(OBJECTS, DETECTIONS), min_size=1, max_size=3),
    st.sampled_from([0.05, 0.3, 0.5, 1.0]),
)
def test_equals_the_oracle(pictures, iou):
    analysis = analyse(evaluator_of(pictures), score=0.3, iou=iou)

    expected = [oracle.judge(*picture, score=0.3, iou=iou) for picture in pictures]
    for i, outcome in enumerate(expected):
        ours = {(e.kind, e.truth, e.found) for e in analysis.errors.get(i + 1, ())}
        assert ours == {item for item in outcome if item[0] not in ("right", "excused")}
        objects, detections = pictures[i]
        for error in analysis.errors.get(i + 1, ()):
            if error.truth is None or error.found is None:
                assert error.iou == 0
            else:
                truth, found = objects[error.truth][1], detections[error.found][1]
                assert error.iou == pytest.approx(oracle.overlap(found, truth, False))
    table = oracle.confusion(pictures, expected, CLASSES)
    assert analysis.confusion.tolist() == table.tolist()
    # Every object is in its row once, whatever became of it.
    numbers = [
        sum(
            label == k and not is_crowd for objects, _ in pictures for label, _, is_crowd in objects
        )
        for k in range(CLASSES)
    ]
    assert table[:CLASSES].sum(axis=1).tolist() == numbers


def square(y, x, side=8):
    bitmap = np.zeros((32, 32), bool)
    bitmap[y : y + side, x : x + side] = True
    return bitmap


def errors_of(objects, detections, **options):
    analysis = analyse(evaluator_of([(objects, detections)], size=(32, 32)), **options)
    return analysis, list(analysis.errors.get(1, ()))


def test_nothing_wrong_leaves_no_error():
    analysis, errors = errors_of([(0, square(0, 0), 0)], [(0, square(0, 0), 0.9)])
    assert errors == []
    assert analysis.errors == {}
    assert analysis.confusion.tolist() == [[1, 0, 0, 0], [0] * 4, [0] * 4, [0] * 4]
    assert analysis.class_names == ("class 0", "class 1", "class 2")


def test_each_kind_once():
    objects = [
        (0, square(0, 0), 0),  # found twice
        (1, square(0, 16), 0),  # taken for class 2
        (2, square(16, 0), 0),  # half of it
        (2, square(24, 24), 0),  # missed
    ]
    detections = [
        (2, square(0, 16), 0.8),
        (0, square(1, 0), 0.7),
        (0, square(0, 0), 0.9),
        (2, square(16, 4), 0.6),
        (1, square(12, 12, 4), 0.5),
        (2, square(24, 24), 0.3),  # not above the score
    ]
    analysis, errors = errors_of(objects, detections)
    assert errors == [
        ImageError("missed", 3, None, 0.0),
        ImageError("wrong class", 1, 0, 1.0),
        ImageError("badly cut", 2, 3, pytest.approx(1 / 3)),
        ImageError("invented", None, 4, 0.0),
        ImageError("double", 0, 1, pytest.approx(7 / 9)),
    ]
    assert analysis.confusion.tolist() == [
        [1, 0, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 2],
        [0, 1, 1, 0],
    ]


def test_a_hole_counts_by_its_pixels():
    """Same box, but the object is a frame: its mask says that the disc inside it is no find."""
    frame, disc = square(0, 0, 10), square(2, 2, 6)
    frame[1:9, 1:9] = False
    _, errors = errors_of([(0, frame, 0)], [(0, disc, 0.9)])
    assert [error.kind for error in errors] == ["missed", "invented"]


def test_a_crowd_excuses_its_own_class_only():
    crowd = [(0, square(0, 0, 20), 1)]
    inside = [(0, square(2, 2), 0.9), (0, square(8, 8), 0.8), (1, square(2, 2), 0.7)]
    analysis, errors = errors_of(crowd, inside)
    assert errors == [ImageError("invented", None, 2, 0.0)]
    assert analysis.confusion.sum() == 1


def test_a_piece_of_what_is_found_is_double_and_of_what_is_not_badly_cut():
    twins = [(0, square(0, 0), 0), (0, square(0, 8), 0)]
    pieces = [(0, square(0, 0), 0.9), (0, square(0, 0, 4), 0.8), (0, square(0, 8, 4), 0.7)]
    _, errors = errors_of(twins, pieces)
    assert [(e.kind, e.truth, e.found) for e in errors] == [("badly cut", 1, 2), ("double", 0, 1)]


def test_the_best_score_chooses_first():
    """The worse detection fits the first object better, but only one object is left for it."""
    objects = [(0, square(0, 0), 0), (1, square(0, 2), 0)]
    detections = [(1, square(0, 0), 0.5), (0, square(0, 0), 0.9)]
    _, errors = errors_of(objects, detections)
    assert errors == []


def test_precision_is_what_ap_is_the_mean_of():
    rng = np.random.default_rng(1)
    pictures = []
    for _ in range(12):
        objects = [(int(k), square(*rng.integers(0, 24, 2)), 0) for k in rng.integers(0, 2, 3)]
        found = [(k, np.roll(m, rng.integers(0, 4), 0), rng.random()) for k, m, _ in objects]
        pictures.append((objects, found))
    evaluator = evaluator_of(pictures, size=(32, 32))
    metrics = evaluator.compute()
    precision = analyse(evaluator).precision
    assert 0.1 < metrics.mask.ap50 < 0.95
    for k, numbers in enumerate(metrics.per_class.values()):
        for shape, average in (("mask", numbers.mask), ("box", numbers.box)):
            for iou, expected in (("0.50", average.ap50), ("0.75", average.ap75)):
                row = precision[shape][iou][k]
                if expected is None:
                    assert (row == -1).all()
                else:
                    assert row.mean() == pytest.approx(expected, abs=1e-12)


def test_ap_and_analysis_match_once(monkeypatch):
    calls = []
    accumulate = CocoEvaluator._accumulate
    monkeypatch.setattr(
        CocoEvaluator,
        "_accumulate",
        lambda self, shape: calls.append(shape) or accumulate(self, shape),
    )
    evaluator = evaluator_of([([(0, square(0, 0), 0)], [])] * 2, size=(32, 32))
    evaluator._found.pop(2)
    assert evaluator.compute().mask.ap == 0
    analyse(evaluator)
    evaluator.compute()
    assert sorted(calls) == ["bbox", "segm"]
    evaluator.update(2, [[0, 0, 8, 8]], [0.9], [10], [encode(square(0, 0))])
    assert evaluator.compute().mask.ap == pytest.approx(51 / 101)
    assert analyse(evaluator).precision["mask"]["0.50"][0].mean() == pytest.approx(51 / 101)
    evaluator.pool(lambda found: found[:1])
    assert evaluator.compute().mask.ap == 0


def test_without_any_object():
    evaluator = evaluator_of([([], [(1, square(0, 0), 0.9)]), ([], [])], size=(32, 32))
    analysis = analyse(evaluator)
    assert analysis.errors == {1: (ImageError("invented", None, 0, 0.0),)}
    assert analysis.precision["mask"]["0.50"].shape == (CLASSES, 101)
    assert (analysis.precision["box"]["0.75"] == -1).all()


def test_a_picture_that_never_came_is_missed():
    evaluator = evaluator_of([([(0, square(0, 0), 0)], [])], size=(32, 32))
    evaluator._found.clear()
    assert analyse(evaluator).errors == {1: (ImageError("missed", 0, None, 0.0),)}


@pytest.mark.parametrize("iou", [0, -0.1, 1.01, float("nan")])
def test_an_iou_out_of_range(iou):
    with pytest.raises(UsageError, match="iou must be above 0"):
        analyse(evaluator_of([]), iou=iou)


def test_the_mean_curve_comes_first_and_hides_a_class_of_its_name():
    table = np.stack([np.full(101, 0.4), np.full(101, -1.0), np.full(101, 0.8)])
    curves = curves_by_class(("cat", "dog", "all"), table)
    assert list(curves) == ["all", "cat", "dog"]
    assert curves["all"] == pytest.approx(0.6)
    assert curves["cat"] == pytest.approx(0.4)
    assert curves["dog"] is None
    assert curves_by_class(("cat", "dog"), table[[1, 1]]) == dict.fromkeys(("all", "cat", "dog"))
