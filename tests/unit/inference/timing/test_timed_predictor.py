from dataclasses import replace

import numpy as np
import pytest
import torch

from yolact.artifacts.metadata import ArtifactMetadata
from yolact.config.presets import preset, yolact_plus_resnet50
from yolact.errors import UsageError
from yolact.inference.load import load
from yolact.inference.predictor import Predictor
from yolact.inference.timing.clock import Clock
from yolact.inference.timing.measure import Limit, measure_together
from yolact.inference.timing.timed_predictor import TimedPredictor, measure
from yolact.model.build import build_yolact
from yolact.runtimes.torch_runtime import TorchRuntime

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (96, 128, 3), dtype=np.uint8)


@pytest.mark.parametrize("runtime", ["reference", "torch", "onnxruntime", "openvino"])
def test_what_is_timed_is_what_the_model_does(runtime, tiny_run, picture, monkeypatch):
    model = load(tiny_run, device="cpu", runtime=runtime)
    finished = []
    finish = type(model).finish

    def keep(*given):
        finished.append(finish(*given))
        return finished[-1]

    monkeypatch.setattr(type(model), "finish", keep)
    timed = TimedPredictor(model, "tiny", batch_size=2, draws=True)
    clock = Clock(CPU)
    scores = timed.run(picture, clock, Limit(0.0, 7))
    monkeypatch.undo()
    detection = model.detection(score_threshold=0.0, max_detections=7)
    wanted = model.detect([picture, picture], detection)
    assert len(finished) == len(wanted) == 2
    for one, other in zip(finished, wanted, strict=True):
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_array_equal(one.scores, other.scores)
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_array_equal(one.masks.numpy(), other.masks.numpy())
    np.testing.assert_array_equal(scores, wanted[0].scores)
    assert list(clock.seconds) == [part.name for part in timed.parts]
    assert clock.input_size == (96, 96)
    divided = runtime in ("reference", "torch")
    assert ("protonet" in clock.seconds, "network" in clock.seconds) == (divided, not divided)


def test_every_stage_of_a_trained_model(tiny_run, tiny_data, picture):
    model = load(tiny_run, device="cpu")
    line = measure(model, [picture], repeats=5, name="tiny")
    names = ["preprocess", "backbone", "fpn", "head", "protonet", "detect", "masks"]
    assert [stage.name for stage in line.stages] == names
    assert all(0 < stage.seconds <= stage.p95 for stage in line.stages)
    assert (line.model, line.image_size) == ("tiny", (96, 96))
    after = {stage.name: stage.after for stage in line.stages}
    assert after["protonet"] == after["head"] == ("fpn",)
    assert not any(stage.per_object for stage in line.stages)
    assert set(line.to_dict()["stages"][0]) == {"name", "after", "seconds", "p95", "per_object"}
    file = next((tiny_data / "images").glob("val_*"))
    stages = measure(model, [file], repeats=1).stages
    assert [stage.name for stage in stages] == ["read", *names]
    assert stages[1].after == ("read",)
    assert not any(module._forward_hooks for module in model.runtime.network.modules())


def test_masks_that_are_judged_take_a_stage_of_their_own(picture):
    recipe = yolact_plus_resnet50(("a", "b")).resized((64, 64))
    config = replace(recipe.model, backbone="resnet10t", deformable_interval=0)
    metadata = ArtifactMetadata(config, recipe.detection)
    model = Predictor(TorchRuntime(build_yolact(config), CPU), metadata)
    (line,) = measure_together([TimedPredictor(model, "plus")], [picture], repeats=1, objects=3)
    assert [stage.name for stage in line.stages][-3:] == ["detect", "rescore", "masks"]
    assert line.stages[-2].after == ("detect", "protonet")
    assert line.num_objects == 3


def test_its_own_settings_are_the_model_s(tiny_run, picture):
    with pytest.raises(UsageError, match="no picture"):
        measure(load(tiny_run, device="cpu"), [])
    assert preset("yolact-nano").detection.score_threshold == 0.05  # as measure() says
