from datetime import timedelta

import pytest

from yolact.config.training import TrainingConfig, parse_duration
from yolact.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("00:00:01", 1), ("1:2:3", 3723), ("00:90:00", 5400), ("100:00:00", 360_000)],
)
def test_durations(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    ["", "10", "10:00", "1:2:3:4", "a:b:c", "-1:00:00", "00:00:1.5", "::", "1: 2:3", "²:0:0"],
)
def test_what_is_no_duration(text):
    with pytest.raises(UsageError, match=r"written HH:MM:SS, not "):
        parse_duration(text)


def test_no_time_is_no_duration():
    with pytest.raises(UsageError, match="longer than zero"):
        parse_duration("00:00:00")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 1.0, "steps": 10}, "epochs or in steps, not both"),
        ({"epochs": 0.0}, "epochs must be positive, not 0.0"),
        ({"steps": -1}, "steps must be positive"),
        ({"batch_size": 0}, "batch_size must be positive"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"gradient_clip": 0.0}, "gradient_clip must be positive"),
        ({"validations": 0}, "validations must be positive"),
        ({"workers": -1}, "workers must not be negative"),
        ({"max_time": "10 minutes"}, "HH:MM:SS"),
    ],
)
def test_impossible_training(settings, message):
    with pytest.raises(UsageError, match=message):
        TrainingConfig(**settings)


def test_lengths_that_go_together():
    TrainingConfig(epochs=1.5, max_time="00:10:00")
    TrainingConfig(steps=10, max_time="00:10:00")
    TrainingConfig(workers=0)
