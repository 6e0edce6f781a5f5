from dataclasses import replace

import pytest

from yolact.config.presets import preset
from yolact.inference.timing.work import network_flops


def test_the_paper_s_model():
    assert network_flops(preset("yolact-resnet50").model) == pytest.approx(118.3e9, rel=0.001)


def test_a_class_more_is_an_output_more_of_a_convolution():
    two = preset("yolact-nano", ("a", "b")).model
    three = replace(two, class_names=("a", "b", "c"))
    places = 40**2 + 20**2 + 10**2 + 5**2 + 3**2
    assert network_flops(three) - network_flops(two) == 2 * places * 9 * 96  # 9 anchors, 1x1


def test_a_deformable_convolution_counts_as_the_plain_one_beside_its_own():
    deformable = preset("yolact-plus-resnet50", ("a",)).model
    plain = replace(deformable, deformable_interval=0)
    # 4, 6 and 3 blocks have a 3x3 convolution more, with 27 outputs: two offsets and a weight a tap.
    places = 4 * 128 * 69**2 + 6 * 256 * 35**2 + 3 * 512 * 18**2
    assert network_flops(deformable) - network_flops(plain) == 2 * 9 * 27 * places
