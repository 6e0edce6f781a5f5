import pytest

from yolact.config.detection import DetectionConfig
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
