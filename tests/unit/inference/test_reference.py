from dataclasses import replace

import numpy as np
import pytest
import torch
from faster_coco_eval.core import mask as coco_mask

import yolact
from yolact.data.images import read_image
from yolact.inference.predictor import Predictor
from yolact.inference.reference import ReferencePredictor


@pytest.fixture(scope="module")
def model(tiny_run):
    return yolact.load(tiny_run, device="cpu")


@pytest.fixture(scope="module")
def pictures(tiny_data):
    return [read_image(tiny_data / "images" / f"val_{i:05d}.jpg") for i in range(3)]


@pytest.mark.parametrize("letterbox", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"nms": "greedy"},
        {"nms": "cross-class", "max_detections": 7},
        {"classes": ["ring", "disc"]},
        {"crop": "soft", "crop_margin": 0.3},
        {"crop": "none"},
    ],
)
def test_the_answers_of_everyone(model, pictures, options, letterbox):
    metadata = replace(model.metadata, model=replace(model.metadata.model, letterbox=letterbox))
    fast = Predictor(model.runtime, metadata)
    plain = ReferencePredictor(model.runtime.network, model.device, metadata)
    for picture in pictures:
        expected, result = plain(picture, score=0.0, **options), fast(picture, score=0.0, **options)
        assert len(expected) > 3
        np.testing.assert_array_equal(result.labels, expected.labels)
        np.testing.assert_allclose(result.scores, expected.scores, atol=1e-5)
        np.testing.assert_allclose(result.boxes, expected.boxes, atol=1e-3)
        differs = result.masks.numpy() != expected.masks.numpy()
        assert differs.sum() <= 2 + expected.masks.area().sum() / 100_000


def test_masks_are_bitmaps_that_answer_as_masks_do(model, pictures):
    plain = ReferencePredictor(model.runtime.network, model.device, model.metadata)
    result = plain(pictures[0], score=0.0)
    bitmaps = result.masks.numpy()
    assert bitmaps.any()
    assert bitmaps.shape == (len(result), 96, 128)
    np.testing.assert_array_equal(result.masks.area(), bitmaps.sum(axis=(1, 2)))
    for index, rle in enumerate(result.masks.rle()):
        np.testing.assert_array_equal(coco_mask.decode(rle), bitmaps[index])
        np.testing.assert_array_equal(result.masks[index], bitmaps[index])
    np.testing.assert_array_equal(result[[2, 0]].masks.numpy(), bitmaps[[2, 0]])
    assert result.plot().shape == pictures[0].shape
    nothing = plain(pictures[0], score=1.0)
    assert nothing.masks.numpy().shape == (0, 96, 128)


def test_the_network_is_a_copy(model):
    plain = ReferencePredictor(model.runtime.network, model.device, model.metadata)
    assert plain.runtime.network is not model.runtime.network
    assert (plain.runtime.name, plain.runtime.precision) == ("reference", "float32")
    assert "untuned" in plain.runtime.description
    weight = plain.runtime.network.backbone.state_dict()
    wide = [value for value in weight.values() if value.dim() == 4 and value.shape[1] > 1]
    assert all(value.is_contiguous() for value in wide)
    assert isinstance(plain.device, torch.device)
