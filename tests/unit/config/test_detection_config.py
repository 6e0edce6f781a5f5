import pytest

from yolact.config.detection import DetectionConfig, given_options
from yolact.errors import UsageError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"score_threshold": -0.01}, r"score_threshold must lie in \[0, 1\], not -0.01"),
        ({"score_threshold": 1.5}, "score_threshold"),
        ({"score_threshold": float("nan")}, "score_threshold"),
        ({"iou_threshold": 2}, r"iou_threshold must lie in \[0, 1\], not 2"),
        ({"max_detections": 0}, "at least 1"),
        ({"top_k": 0}, "at least 1"),
        ({"nms": "slow"}, "nms must be one of fast, cross-class, greedy, not 'slow'"),
        ({"crop": "round"}, "crop must be one of hard, soft, none, not 'round'"),
        ({"crop_margin": -0.1}, "crop_margin must be a number from 0 up, not -0.1"),
        ({"crop_margin": float("nan")}, "not nan"),
        ({"crop_margin": float("inf")}, "not inf"),
        ({"crop": "soft"}, "give one above 0"),
        ({"crop": "none", "crop_margin": 0.1}, "no crop margin of 0.1"),
        ({"labels": ()}, "at least one class"),
    ],
)
def test_impossible_thresholds(settings, message):
    with pytest.raises(UsageError, match=message):
        DetectionConfig(**settings)


@pytest.mark.parametrize("threshold", [0, 1])
def test_the_ends_are_allowed(threshold):
    DetectionConfig(score_threshold=threshold, iou_threshold=threshold)


@pytest.mark.parametrize(
    ("max_detections", "top_k", "expected"),
    [(100, 200, 200), (1, 200, 200), (150, 200, 300), (300, 200, 600), (300, 50, 150), (100, 7, 7)],
)
def test_candidates_grow_with_the_detections_wanted(max_detections, top_k, expected):
    config = DetectionConfig(max_detections=max_detections, top_k=top_k)
    assert config.candidates_per_class == expected


@pytest.mark.parametrize(("max_detections", "expected"), [(100, 200), (200, 200), (300, 300)])
def test_cross_class_nms_keeps_as_many_as_it_takes(max_detections, expected):
    config = DetectionConfig(nms="cross-class", max_detections=max_detections)
    assert config.candidates_per_class == expected


def test_options_that_were_given():
    values = {"nms": "greedy", "crop_margin": None, "classes": ["dog"], "device": "cpu"}
    assert given_options(values) == {"nms": "greedy", "classes": ["dog"]}
