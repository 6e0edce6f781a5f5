from dataclasses import FrozenInstanceError

import pytest

from yolact.config.model import AnchorConfig, ModelConfig
from yolact.errors import UsageError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"class_names": "person"}, "not a single string"),
        ({"class_names": ()}, "non-empty list"),
        ({"image_size": (550, 32)}, r"\(550, 32\) is too small"),
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
