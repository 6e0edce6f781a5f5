import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import masks as oracle
from yolact.config.model import ModelConfig
from yolact.config.presets import PRESETS, preset
from yolact.processing.preprocess import Placement, Preprocessor, fill, fit, stretch

side = st.integers(1, 3000)
any_size = st.tuples(side, side)
input_size = st.tuples(st.integers(64, 700), st.integers(64, 700))


def preprocessor(size=(64, 96), **settings):
    return Preprocessor(ModelConfig(class_names=("a",), image_size=size, **settings))


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "yolact-darknet53"])
def test_constants_of_every_preset(name):
    """A picture of one colour, red 124, green 59, blue 0."""
    config = preset(name).model
    picture = np.full((3, 5, 3), (124, 59, 0), dtype=np.uint8)
    network_input = Preprocessor(config)([picture])
    assert network_input.shape == (1, 3, *config.image_size)
    assert network_input.dtype == torch.float32
    red, green, blue = (channel.unique() for channel in network_input[0])
    assert red.item() == pytest.approx((124 - 123.68) / 58.40, abs=1e-6)
    assert green.item() == pytest.approx((59 - 116.78) / 57.12, abs=1e-6)
    assert blue.item() == pytest.approx(-103.94 / 57.38, abs=1e-6)


def test_darknet_only_divides():
    picture = np.full((3, 5, 3), (255, 51, 0), dtype=np.uint8)
    network_input = Preprocessor(preset("yolact-darknet53").model)([picture])
    colours = [channel.unique().item() for channel in network_input[0]]
    assert colours == pytest.approx([1, 0.2, 0], abs=1e-7)


def test_other_constants():
    config = ModelConfig(class_names=("a",), image_size=(64, 64), mean=(0, 0, 0), std=(255,) * 3)
    white = np.full((64, 64, 3), 255, dtype=np.uint8)
    assert torch.equal(Preprocessor(config)([white]), torch.ones(1, 3, 64, 64))


def test_pictures_of_any_size_make_one_batch():
    random = np.random.default_rng(0)
    pictures = [
        random.integers(0, 256, size=(*size, 3), dtype=np.uint8)
        for size in ((1, 1), (480, 640), (64, 96), (2000, 3))
    ]
    batch = preprocessor()(pictures)
    assert batch.shape == (4, 3, 64, 96)
    for picture, network_input in zip(pictures, batch, strict=True):
        assert torch.equal(preprocessor()([picture])[0], network_input)


def test_pictures_are_left_alone():
    picture = np.full((64, 96, 3), 7, dtype=np.uint8)
    preprocessor()([picture])
    assert (picture == 7).all()


def test_a_float_picture_of_the_right_size_is_left_alone():
    picture = np.full((64, 96, 3), 7, dtype=np.float32)
    preprocessor().normalize(stretch(picture, (64, 96)))
    assert (picture == 7).all()


@pytest.mark.parametrize(
    ("row", "width", "expected"),
    [
        ([0, 100], 4, [0, 25, 75, 100]),  # half-pixel centres, edges repeated
        ([0, 90, 0, 0, 60, 0], 2, [90, 60]),  # no anti-aliasing: neighbours are not averaged in
        ([0, 100, 0, 100], 2, [50, 50]),
        ([0, 1], 3, [0, 0.5, 1]),  # not rounded to whole values
    ],
)
def test_stretch_by_hand(row, width, expected):
    picture = np.repeat(np.array(row, dtype=np.uint8)[None, :, None], 3, axis=2)
    stretched = stretch(picture, (1, width))
    assert stretched.dtype == np.float32
    np.testing.assert_allclose(stretched[0, :, 0], expected, atol=1e-4)
    lying = stretch(picture.transpose(1, 0, 2), (width, 1))
    np.testing.assert_allclose(lying[:, 0, 2], expected, atol=1e-4)


@settings(deadline=None, max_examples=50)
@given(
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.integers(0, 2**31),
)
def test_stretches_like_the_oracle(source, target, seed):
    picture = np.random.default_rng(seed).integers(0, 256, size=(*source, 3), dtype=np.uint8)
    stretched = stretch(picture, target)
    assert stretched.shape == (*target, 3)
    for channel in range(3):
        expected = oracle.resize(picture[..., channel].tolist(), target)
        np.testing.assert_allclose(stretched[..., channel], expected, atol=1e-2)


@pytest.mark.parametrize(
    ("picture", "network", "left", "top", "width", "height"),
    [
        ((480, 640), (320, 320), 0, 40, 320, 240),
        ((640, 480), (320, 320), 40, 0, 240, 320),
        ((480, 640), (240, 320), 0, 0, 320, 240),  # the same aspect
        ((1, 1), (192, 320), 64, 0, 192, 192),  # enlarged
        ((3, 5), (101, 101), 0, 20, 101, 61),  # bars of 20.2 rows
        ((100, 65), (64, 64), 11, 0, 42, 64),  # of 11.2 columns
        ((100, 64), (64, 64), 12, 0, 40, 64),  # of 11.52 columns
        ((3000, 2), (64, 64), 31, 0, 2, 64),  # no picture is lost
        ((2, 3000), (65, 65), 0, 32, 65, 1),
    ],
)
def test_fit_by_hand(picture, network, left, top, width, height):
    assert fit(picture, network) == Placement(left, top, width, height, network)


@given(any_size, input_size)
def test_a_picture_fits_touches_and_is_centred(picture, network):
    place = fit(picture, network)
    (height, width), (rows, columns) = picture, network
    assert place.height == rows or place.width == columns
    assert place.left == columns - place.left - place.width >= 0
    assert place.top == rows - place.top - place.height >= 0
    assert place.width > 0
    assert place.height > 0
    scale = min(rows / height, columns / width)
    assert abs(place.width - width * scale) <= (1 if width * scale > 2 else 2) + 1e-6
    assert abs(place.height - height * scale) <= (1 if height * scale > 2 else 2) + 1e-6


@given(any_size, input_size)
def test_a_picture_lies_where_its_turned_twin_does(picture, network):
    place, twin = fit(picture, network), fit(picture[::-1], network[::-1])
    assert (place.left, place.top) == (twin.top, twin.left)
    assert (place.width, place.height) == (twin.height, twin.width)


@given(input_size, st.integers(1, 5))
def test_a_picture_of_the_inputs_aspect_fills_it(network, times):
    picture = (network[0] * times, network[1] * times)
    assert fit(picture, network) == fill(network)
    assert fill(network).region == (0.0, 0.0, 1.0, 1.0)


@pytest.mark.parametrize("size", [(48, 80), (80, 48), (7, 100), (100, 7), (64, 64)])
@pytest.mark.parametrize("network", [(64, 64), (64, 96), (97, 65)])
def test_letterboxed_pictures_keep_their_aspect(size, network):
    picture = np.random.default_rng(0).integers(0, 256, size=(*size, 3), dtype=np.uint8)
    prepare = preprocessor(network, letterbox=True)
    place = prepare.placement(size)
    (shown,) = prepare([picture])
    inside = np.zeros(network, dtype=bool)
    inside[place.top : place.top + place.height, place.left : place.left + place.width] = True
    assert not shown[:, torch.from_numpy(~inside)].any()  # exactly the mean
    stretched = prepare.normalize(stretch(picture, (place.height, place.width)))
    assert torch.equal(shown[:, torch.from_numpy(inside)], stretched.flatten(1))


def test_a_mirrored_picture_makes_a_mirrored_input():
    picture = np.random.default_rng(0).integers(0, 256, size=(50, 33, 3), dtype=np.uint8)
    prepare = preprocessor((97, 65), letterbox=True)
    torch.testing.assert_close(prepare([picture[:, ::-1]]), prepare([picture]).flip(-1))


def test_a_letterbox_changes_nothing_where_the_aspect_is_the_same():
    picture = np.random.default_rng(0).integers(0, 256, size=(128, 192, 3), dtype=np.uint8)
    assert torch.equal(preprocessor(letterbox=True)([picture]), preprocessor()([picture]))
    assert preprocessor().placement((10, 1000)) == fill((64, 96))


@pytest.mark.parametrize("letterbox", [False, True])
def test_torch_computes_the_same(letterbox):
    """What a GPU does. Pictures wide enough for floats to lose the share of a pixel."""
    random = np.random.default_rng(0)
    pictures = [
        random.integers(0, 256, size=(*size, 3), dtype=np.uint8)
        for size in ((480, 640), (1080, 1920), (1, 1), (64, 96), (3, 4000))
    ]
    process = preprocessor((350, 270), letterbox=letterbox)
    found = process.compute([torch.from_numpy(picture) for picture in pictures])
    torch.testing.assert_close(found, process(pictures), rtol=0, atol=3e-6)
