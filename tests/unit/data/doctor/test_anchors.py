import numpy as np
import pytest
import torch

from yolact.config.model import AnchorConfig
from yolact.data.doctor.anchors import best_ious, fit_scales
from yolact.model.build import pyramid_sizes
from yolact.ops.anchors import generate_anchors
from yolact.ops.boxes import box_iou, cxcywh_to_xyxy

NANO = tuple((24.0 * n, 30.0 * n, 38.0 * n) for n in (1, 2, 4, 8, 16))


def some_boxes(image_size, number=200):
    rng = np.random.default_rng(1)
    height, width = image_size
    sides = np.exp(rng.uniform(0, np.log(min(image_size)), (number, 2)))
    corner = rng.uniform(0, 1, (number, 2)) * ((width, height) - sides)
    return np.concatenate((corner, corner + sides), axis=1)


@pytest.mark.parametrize("image_size", [(320, 320), (200, 330), (97, 130)])
@pytest.mark.parametrize("square", [False, True])
def test_best_iou_is_that_of_the_table_of_all_anchors(image_size, square):
    anchors = AnchorConfig(NANO, square=square)
    boxes = some_boxes(image_size)
    height, width = image_size
    table = generate_anchors(
        pyramid_sizes(image_size), anchors.scales, anchors.ratios, image_size, square=square
    )
    fractions = torch.from_numpy(boxes / (width, height, width, height)).float()
    expected = box_iou(fractions, cxcywh_to_xyxy(table)).amax(dim=1)
    found = best_ious(boxes, anchors, image_size)
    np.testing.assert_allclose(found, expected.numpy(), atol=2e-5)


@pytest.mark.parametrize(("low", "high"), [(8, 20), (40, 90), (10, 300)])
def test_fitted_scales_match_more(low, high):
    rng = np.random.default_rng(2)
    anchors, image_size = AnchorConfig(NANO), (320, 320)
    sides = rng.uniform(low, high, (400, 1)) * np.exp(rng.uniform(-0.3, 0.3, (400, 2)))
    sides = np.minimum(sides, 320)
    corner = rng.uniform(0, 1, (400, 2)) * (320 - sides)
    boxes = np.concatenate((corner, corner + sides), axis=1)
    scales = fit_scales(boxes, anchors, image_size, 0.4)
    assert [len(level) for level in scales] == [3] * 5
    assert all(level == tuple(sorted(level)) for level in scales)
    before = (best_ious(boxes, anchors, image_size) >= 0.4).mean()
    after = (best_ious(boxes, AnchorConfig(scales), image_size) >= 0.4).mean()
    assert after >= before
    assert after > 0.9


def test_levels_that_gain_nothing_keep_their_scales():
    boxes = np.array([[100.0, 100, 124, 124]])
    scales = fit_scales(boxes, AnchorConfig(NANO), (320, 320), 0.4)
    assert scales[1:] == NANO[1:]
