from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from yolact.config.detection import DetectionConfig
from yolact.export.parity import Parity, compare, level_of
from yolact.ops.masks import CroppedMask
from yolact.results import Masks, Result

CONFIG = DetectionConfig()


def result(*objects, size=(100, 100)):
    """Of (x, y, side, label, score): squares."""
    corners = np.array([o[:3] for o in objects], np.float32).reshape(-1, 3)
    x, y, side = corners.T
    crops = [CroppedMask(o[0], o[1], np.ones((o[2], o[2]), np.bool_)) for o in objects]
    scores = np.array([o[4] for o in objects], np.float32)
    return Result(
        boxes=np.stack((x, y, x + side, y + side), axis=1),
        scores=scores,
        mask_scores=scores,
        labels=np.array([o[3] for o in objects], np.int64),
        names=("a", "b"),
        masks=Masks.from_crops(crops, size),
        image_size=size,
    )


ONE = (10, 10, 40, 0, 0.9)
TWO = (50, 50, 40, 1, 0.6)


def parity(expected, found, level=0.15, config=CONFIG):
    return compare("picture", expected, found, config, level)


def test_the_same_agrees():
    same = parity(result(ONE, TWO), result(ONE, TWO))
    assert same.agrees
    assert (same.expected, same.matched, same.unmatched) == (2, 2, 0)
    assert (same.box_difference, same.score_difference, same.least_iou) == (0, 0, 1)


def test_order_is_no_difference_but_numbers_are():
    moved = parity(result(ONE, TWO), result((50, 50, 40, 1, 0.95), (11, 10, 40, 0, 0.9)))
    assert moved.matched == 2
    assert moved.box_difference == 1
    assert moved.score_difference == pytest.approx(0.35)
    assert moved.least_iou == pytest.approx(39 / 41)
    assert moved.wrong_masks == 1
    assert not moved.agrees


def test_what_only_one_has_fails():
    assert parity(result(ONE, TWO), result(ONE)).unmatched == 1
    assert parity(result(ONE), result(ONE, TWO)).unmatched == 1
    other_label = (50, 50, 40, 0, 0.6)
    assert parity(result(ONE, TWO), result(ONE, other_label)).unmatched == 2


def test_two_of_the_model_are_not_matched_to_one_of_the_file():
    twin = (10, 10, 40, 0, 0.8)
    assert parity(result(ONE, twin), result(ONE)).unmatched == 1


def test_near_ties_at_the_limits_are_no_failures():
    level = (50, 50, 40, 1, 0.1505)
    assert parity(result(ONE, level), result(ONE)).agrees
    last = (50, 50, 40, 1, 0.6)
    other = (20, 50, 40, 1, 0.6005)
    config = DetectionConfig(max_detections=2)
    assert parity(result(ONE, last), result(ONE, other), config=config).agrees
    assert not parity(result(ONE, last), result(ONE, other)).agrees


def test_below_the_level_nothing_counts():
    weak = (50, 50, 40, 1, 0.1)
    same = parity(result(ONE, weak), result(ONE))
    assert same.agrees
    assert same.expected == 1


def test_a_pixel_of_a_small_mask_is_no_failure():
    small = parity(result((0, 0, 8, 0, 0.9)), result((0, 0, 8, 0, 0.9)))
    assert small.agrees
    found = result((0, 0, 8, 0, 0.9))
    bitmap = np.ones((8, 8), np.bool_)
    bitmap[0, :2] = False
    found = replace(found, masks=Masks.from_crops([CroppedMask(0, 0, bitmap)], (100, 100)))
    assert parity(result((0, 0, 8, 0, 0.9)), found).least_iou == pytest.approx(62 / 64)
    assert parity(result((0, 0, 8, 0, 0.9)), found).agrees


def test_empty_masks_and_empty_results():
    nothing = result()
    assert parity(nothing, nothing).agrees
    assert parity(result((5, 5, 0, 0, 0.9)), result((5, 5, 0, 0, 0.9))).agrees


def test_the_level_follows_the_best_where_nothing_is_displayed():
    assert level_of([result(ONE), result()]) == 0.15
    assert level_of([result((0, 0, 9, 0, 0.1))]) == pytest.approx(0.05)
    assert level_of([result()]) == 0


def test_a_table_of_pictures_has_a_sum():
    good, bad = parity(result(ONE), result(ONE)), parity(result(ONE, TWO), result(ONE))
    both = Parity(Path("x.onnx"), "final", 0.15, (good, bad))
    assert (both.total.expected, both.total.matched, both.total.unmatched) == (3, 2, 1)
    assert not both.agrees
    assert "1 of 2 pictures" in both.complaint()
    assert both.to_dict()["total"]["matched"] == 2
    assert str(Path(both)) == "x.onnx"
    assert Parity(Path("x.onnx"), "final", 0.15, (parity(result(), result()),)).is_vain
    raw = replace(both, pictures=(good,), raw_difference=0.1)
    assert not raw.agrees
    assert "other numbers" in raw.complaint()
