from datetime import timedelta

import pytest

from yolact.config.presets import preset
from yolact.config.training import TrainingConfig, fine_tuning, parse_duration
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
        ({"mosaic": 1.5}, "mosaic must lie in"),
        ({"copy_paste": -0.1}, "copy_paste must lie in"),
        ({"closing": 2.0}, "closing must lie in"),
        ({"workers": -1}, "workers must not be negative"),
        ({"max_time": "10 minutes"}, "HH:MM:SS"),
        (
            {"freeze": ("neck",)},
            "cannot freeze 'neck'; there are backbone, fpn, protonet, head, semantic_head",
        ),
        ({"freeze": ("",)}, "cannot freeze ''"),
        ({"accumulate": 0}, "accumulate must be positive"),
        ({"batch_size": 8, "accumulate": 3}, "batch_size 8 cannot be split into 3 equal parts"),
        ({"ema_decay": 1.0}, "ema_decay must lie between 0 and 1, not 1.0"),
        ({"ema_decay": 0.0}, "ema_decay must lie between 0 and 1"),
        ({"copy_paste": 1.5}, r"copy_paste must lie in \[0, 1\], not 1.5"),
        ({"mosaic": -0.1}, "mosaic must lie in"),
        ({"closing": float("nan")}, "closing must lie in"),
        ({"early_stop": 0}, "early_stop must be positive"),
        ({"validate_every": 0.0}, "validate_every must be positive"),
        ({"seed": -1}, "seed must not be negative"),
        ({"warmup_steps": -1}, "warmup_steps must not be negative"),
    ],
)
def test_impossible_training(settings, message):
    with pytest.raises(UsageError, match=message):
        TrainingConfig(**settings)


def test_lengths_that_go_together():
    TrainingConfig(epochs=1.5, max_time="00:10:00")
    TrainingConfig(steps=10, max_time="00:10:00")
    TrainingConfig(workers=0)


@pytest.mark.parametrize("name", ["yolact-nano", "yolact-base"])
def test_fine_tuning_is_shorter_and_gentler_and_keeps_the_rest(name):
    scratch = preset(name).training
    tuned = fine_tuning(scratch)
    assert tuned.epochs is not None
    assert tuned.steps is None
    assert tuned.learning_rate < scratch.learning_rate
    assert tuned.warmup_steps < scratch.warmup_steps
    for kept in ("optimizer", "loss", "augmentation", "batch_size", "weight_decay", "momentum"):
        assert getattr(tuned, kept) == getattr(scratch, kept)
    assert fine_tuning(tuned) == tuned


def test_fine_tuning_takes_no_length_or_freezing_from_the_earlier_run():
    earlier = TrainingConfig(
        steps=10, max_time="00:10:00", freeze=("backbone",), freeze_batch_norm=False
    )
    tuned = fine_tuning(earlier)
    assert (tuned.steps, tuned.max_time) == (None, None)
    assert (tuned.freeze, tuned.freeze_batch_norm) == ((), None)
