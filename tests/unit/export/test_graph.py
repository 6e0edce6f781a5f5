"""The modules that are exported, run by torch as they are, beside the predictor."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lively import SMALL_PLUS, blurry, lively
from yolact.config.detection import DetectionConfig
from yolact.config.model import ModelConfig
from yolact.export.final_file import final_results
from yolact.export.graph import FinalGraph, Finish, Preprocess, RawGraph, final_outputs
from yolact.export.parity import compare
from yolact.export.pieces import finish_of
from yolact.processing.preprocess import Preprocessor, bar, fit

WAYS = {
    "fast": DetectionConfig(max_detections=15),
    "few": DetectionConfig(max_detections=3, top_k=5),
    "cross-class": DetectionConfig(nms="cross-class", max_detections=15),
    "one class": DetectionConfig(labels=(2,), iou_threshold=0.3),
    "soft": DetectionConfig(crop="soft", crop_margin=0.3, max_detections=15),
    "margin": DetectionConfig(crop_margin=0.2, max_detections=15),
    "none": DetectionConfig(crop="none", max_detections=15),
    "all": DetectionConfig(score_threshold=0.0, max_detections=200),
}


def run_of(model, detection, *, full_size=False):
    """As an exported file is run, without exporting anything."""
    config, scorer = model.metadata.model, model.runtime.mask_scorer
    finish = Finish(config, detection, scorer, full_size=full_size)
    graph = FinalGraph(Preprocess(config), RawGraph(model.runtime.network), finish)
    names = final_outputs(has_scorer=scorer is not None, full_size=full_size)

    def run(pictures, score):
        with torch.inference_mode():
            found = graph(torch.from_numpy(pictures), torch.from_numpy(score))
        return {name: each.numpy() for name, each in zip(names, found, strict=True)}

    return run


def check(model, detection, pictures, score, **settings):
    """The graph finds what the predictor finds; how many there are of each picture comes back."""
    found = final_results(run_of(model, detection, **settings), pictures, score, model.names)
    expected = [result.filter(score) for result in model.detect(pictures, detection)]
    for one, other in zip(expected, found, strict=True):
        assert len(other) == len(one)
        assert (np.diff(other.scores) <= 0).all()
        parity = compare("", one, other, detection, level=0.0)
        assert parity.unmatched == 0
        assert parity.matched == len(one)
        assert parity.box_difference < 1e-3
        assert parity.score_difference < 1e-5
        assert parity.wrong_masks == 0
        assert parity.mean_iou > 0.999
    return [len(one) for one in expected]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("letterbox", [False, True])
def test_a_graph_finds_what_the_predictor_finds(way, letterbox):
    model = lively(letterbox=letterbox)
    counts = check(model, WAYS[way], [blurry(seed) for seed in range(3)], 0.1)
    assert min(counts) > 0


def test_pictures_of_a_batch_have_their_own_detections():
    model = lively()
    pictures = [blurry(seed) for seed in range(4)]
    counts = check(model, DetectionConfig(score_threshold=0.3), pictures, 0.77)
    assert len(set(counts)) > 2
    assert 0 in counts


@pytest.mark.parametrize("full_size", [False, True])
def test_nothing_found_is_an_answer(full_size):
    model = lively()
    run = run_of(model, DetectionConfig(), full_size=full_size)
    found = run(np.stack([blurry(0)]), np.array(1.0, np.float32))
    assert found["picture_index"].shape == (0,)
    assert found["boxes"].shape == (0, 4)
    assert len(found["masks"]) == 0


@pytest.mark.parametrize("letterbox", [False, True])
def test_masks_of_the_whole_picture(letterbox):
    model = lively(letterbox=letterbox)
    found = run_of(model, WAYS["fast"], full_size=True)(
        np.stack([blurry(0)]), np.array(0.2, np.float32)
    )
    assert found["masks"].shape[1:] == (70, 110)
    assert found["masks"].dtype == np.uint8
    assert set(np.unique(found["masks"])) == {0, 1}
    assert "windows" not in found
    check(model, WAYS["fast"], [blurry(0)], 0.2, full_size=True)


def test_windows_lie_in_the_picture_and_hold_the_masks():
    model = lively()
    found = run_of(model, WAYS["margin"])(np.stack([blurry(0)]), np.array(0.0, np.float32))
    x, y, width, height = found["windows"].T
    assert (np.minimum(x, y) >= 0).all()
    assert (x + width <= 110).all()
    assert (y + height <= 70).all()
    assert found["masks"].shape[1:] == (max(height), max(width))
    for mask, (w, h) in zip(found["masks"], zip(width, height, strict=True), strict=True):
        assert not mask[h:].any()
        assert not mask[:, w:].any()


def test_masks_are_judged():
    model = lively("yolact-plus-resnet50", size=(96, 96), **SMALL_PLUS)
    check(model, WAYS["fast"], [blurry(0), blurry(1)], 0.2)
    found = run_of(model, WAYS["fast"])(np.stack([blurry(0)]), np.array(0.2, np.float32))
    assert found["mask_scores"].any()


def test_a_network_that_diverged_has_masks_nowhere():
    model = lively()
    finish = Finish(model.metadata.model, DetectionConfig())
    raw = list(RawGraph(model.runtime.network)(model.preprocessor([blurry(0)])))
    raw[0] = torch.full_like(raw[0], 1e4)  # so large that a box ends beyond all numbers
    found = finish(*raw, torch.tensor((70, 110)), torch.tensor(0.0))
    assert len(found[0]) > 0
    assert not found[-2].any()


def test_greedy_nms_is_refused():
    with pytest.raises(Exception, match=r"no graph can hold greedy NMS.*--masks raw"):
        finish_of(lively().metadata.model, DetectionConfig(nms="greedy"), None, full_size=False)


@given(
    height=st.integers(1, 200),
    width=st.integers(1, 200),
    letterbox=st.booleans(),
    seed=st.integers(0, 9),
)
@settings(max_examples=60, deadline=None)
def test_pictures_of_any_size_become_the_same_input(height, width, letterbox, seed):
    config = ModelConfig(("thing",), image_size=(64, 96), letterbox=letterbox)
    picture = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    images, size = Preprocess(config)(torch.from_numpy(picture)[None])
    assert size.tolist() == [height, width]
    torch.testing.assert_close(images, Preprocessor(config)([picture]), rtol=0, atol=2e-4)


@given(spare=st.integers(0, 10_000), side=st.integers(1, 10_000))
def test_a_bar_is_rounded_as_python_rounds(spare, side):
    whole, rest = divmod(spare, 2 * side)
    expected = whole + (2 * rest > 2 * side or (rest == side and whole % 2 == 1))
    assert bar(spare, side) == expected
    assert bar(torch.tensor(spare), torch.tensor(side)) == expected


def test_a_picture_between_two_whole_pixels_is_fitted_evenly():
    assert fit((900, 810), (550, 550)).left == 28  # 27.5
    assert fit((1510, 1057), (550, 550)).left == 82  # 82.5
