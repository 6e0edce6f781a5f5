"""The plain path against oracles of plain Python; others are compared with it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import masks as oracle
from yolact.config.presets import preset
from yolact.ops.masks import assemble_masks
from yolact.processing.preprocess import Preprocessor, fit
from yolact.processing.reference import PlainPreprocessor, make_masks
from yolact.structures import Detections


@pytest.mark.parametrize("letterbox", [False, True])
@pytest.mark.parametrize("size", [(48, 64), (200, 90), (1, 1), (96, 96)])
def test_prepares_pictures_like_everyone(letterbox, size):
    config = replace(preset("yolact-nano").model, image_size=(96, 96), letterbox=letterbox)
    pictures = np.random.default_rng(0).integers(0, 256, (2, *size, 3)).astype(np.uint8)
    expected = Preprocessor(config)(list(pictures))
    prepared = PlainPreprocessor(config)(list(pictures))
    assert prepared.shape == (2, 3, 96, 96)
    # Noise: neighbours differ by up to 255, and a position is rounded in the fifth digit.
    torch.testing.assert_close(prepared, expected, atol=1e-4, rtol=0)


def found(box_rows, size, seed):
    random = torch.Generator().manual_seed(seed)
    return Detections(
        boxes=torch.tensor(box_rows, dtype=torch.float32).reshape(-1, 4),
        scores=torch.ones(len(box_rows)),
        labels=torch.zeros(len(box_rows), dtype=torch.int64),
        coefficients=torch.rand(len(box_rows), 2, generator=random) * 2 - 1,
        prototypes=torch.randn(2, *size, generator=random).relu() * 4,
    )


sides = st.integers(1, 30)
fraction = st.integers(-8, 24).map(lambda n: n / 16)


@settings(deadline=None)
@given(
    st.lists(st.tuples(*[fraction] * 4), max_size=3),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(sides, sides),
    st.integers(0, 2**31),
    st.booleans(),
)
def test_masks_like_the_oracle(box_rows, cells, image_size, seed, letterbox):
    detections = found(box_rows, cells, seed)
    region = fit(image_size, (64, 64)).region if letterbox else (0.0, 0.0, 1.0, 1.0)
    soft = assemble_masks(detections.prototypes, detections.coefficients).tolist()
    masks = make_masks(detections, image_size, region).numpy()
    assert masks.shape == (len(box_rows), *image_size)
    for mask, plane, box in zip(masks, soft, box_rows, strict=True):
        values = np.array(oracle.resize(oracle.crop(plane, box), image_size, region))
        clear = np.abs(values - 0.5) > 2e-6
        np.testing.assert_array_equal(mask[clear], (values > 0.5)[clear])
