from dataclasses import FrozenInstanceError

import pytest

from yolact.config.model import AnchorConfig, ModelConfig, parse_size
from yolact.errors import UsageError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"class_names": "person"}, "not a single string"),
        ({"class_names": ()}, "non-empty list"),
        ({"image_size": (550, 32)}, "an input of 32x550 is too small"),
        ({"anchors": AnchorConfig(scales=((8.0,),) * 4)}, "exactly five levels"),
        ({"anchors": AnchorConfig(scales=((8.0,),) * 4 + ((8.0, 9.0),))}, "same number"),
    ],
)
def test_impossible_models(settings, message):
    with pytest.raises(UsageError, match=message):
        ModelConfig(**{"class_names": ("a",), **settings})


def test_numbers_that_follow():
    assert AnchorConfig().num_per_cell == 3
    assert AnchorConfig(scales=((8.0, 9.0, 10.0),) * 5).num_per_cell == 9
    assert ModelConfig(class_names=("a", "b")).num_classes == 2


def test_configurations_are_frozen():
    with pytest.raises(FrozenInstanceError):
        ModelConfig(class_names=("a",)).backbone = "resnet18"


def test_smallest_input():
    assert ModelConfig(class_names=("a",), image_size=(64, 64)).image_size == (64, 64)


@pytest.mark.parametrize(
    ("written", "size"),
    [
        (320, (320, 320)),
        ("320", (320, 320)),
        ("480x320", (320, 480)),  # users write the width first
        (" 480X320 ", (320, 480)),
        ("97x65", (65, 97)),
    ],
)
def test_sizes(written, size):
    assert parse_size(written) == size


@pytest.mark.parametrize(
    "written",
    ["big", "", "x", "320x", "x320", "3x2x1", "-5", "1.5", 1.5, True, (320, 480), None, "²"],
)
def test_what_is_no_size(written):
    with pytest.raises(UsageError, match="a size is written like 320 or like 320x240, not"):
        parse_size(written)
