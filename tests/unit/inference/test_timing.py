import time
from dataclasses import replace
from statistics import median

import numpy as np
import pytest
import torch

from yolact.artifacts.metadata import ArtifactMetadata
from yolact.config.presets import preset, yolact_plus_resnet50
from yolact.errors import CheckpointError, UsageError
from yolact.inference.load import load, untrained
from yolact.inference.mask_rcnn import MaskRcnn
from yolact.inference.predictor import Predictor
from yolact.inference.timing import (
    Clock,
    Limit,
    Part,
    TimedPredictor,
    measure,
    measure_growth,
    measure_together,
)
from yolact.model.build import build_yolact
from yolact.runtimes.torch_runtime import TorchRuntime

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (96, 128, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def mask_rcnn() -> MaskRcnn:
    return MaskRcnn(device=CPU, short_side=64)


class Paced:
    """Finds what it is told to, and takes a known time for it."""

    name, device = "paced", CPU
    parts = (
        Part("preprocess"),
        Part("detect", ("preprocess",)),
        Part("masks", ("detect",), per_object=True),
    )

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def run(self, picture, clock, limit):
        scores = np.linspace(0.9, 0.1, 9, dtype=np.float32)
        if limit is not None:
            scores = scores[scores > limit.score][: limit.count]
        for part, seconds in zip(self.parts, (3.0, 1.0, 0.5 * len(scores)), strict=True):
            self.now += seconds
            clock.mark(part.name)
        return scores


def test_time_is_shared_out_among_the_stages(monkeypatch, picture):
    (line,) = measure_together([Paced(monkeypatch)], [picture], repeats=3, objects=4)
    assert [(s.name, s.seconds, s.p95) for s in line.stages] == [
        ("preprocess", 3.0, 3.0),
        ("detect", 1.0, 1.0),
        ("masks", 2.0, 2.0),
    ]
    assert (line.seconds, line.num_objects, line.num_repeats) == (6.0, 4.0, 3)


def test_growth_is_a_slope_through_what_was_found(monkeypatch, picture):
    (growth,) = measure_growth([Paced(monkeypatch)], picture, [1, 5, 50], repeats=2)
    assert growth.objects == (1, 5, 9)  # it finds no more than nine
    assert growth.seconds == (4.5, 6.5, 8.5)
    assert growth.seconds_per_object == pytest.approx(0.5)
    (single,) = measure_growth([Paced(monkeypatch)], picture, [3], repeats=1)
    assert single.seconds_per_object is None


def test_every_stage_of_a_trained_model(tiny_run, tiny_data, picture):
    model = load(tiny_run, device="cpu")
    line = measure(model, [picture], repeats=5, name="tiny")
    names = ["preprocess", "backbone", "fpn", "head", "protonet", "detect", "masks"]
    assert [stage.name for stage in line.stages] == names
    assert all(0 < stage.seconds <= stage.p95 for stage in line.stages)
    assert sum(stage.seconds for stage in line.stages) == pytest.approx(line.seconds, rel=0.5)
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


def test_what_is_timed_is_what_the_model_does(tiny_run, picture):
    model = load(tiny_run, device="cpu")
    found = TimedPredictor(model, "tiny").run(picture, Clock(CPU), Limit(0.0, 7))
    (result,) = model.detect([picture], model.detection(score_threshold=0.0, max_detections=7))
    np.testing.assert_array_equal(found, result.scores)


def test_masks_that_are_judged_take_a_stage_of_their_own(picture):
    recipe = yolact_plus_resnet50(("a", "b")).resized((64, 64))
    config = replace(recipe.model, backbone="resnet10t", deformable_interval=0)
    metadata = ArtifactMetadata(config, recipe.detection)
    model = Predictor(TorchRuntime(build_yolact(config), CPU), metadata)
    (line,) = measure_together([TimedPredictor(model, "plus")], [picture], repeats=1, objects=3)
    assert [stage.name for stage in line.stages][-3:] == ["detect", "rescore", "masks"]
    assert line.stages[-2].after == ("detect", "protonet")
    assert line.num_objects == 3


def test_random_weights_are_the_same_each_time_and_leave_chance_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, two = (
        untrained("yolact-nano", device="cpu").runtime.network.state_dict() for _ in range(2)
    )
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(one[key], two[key]) for key in one)
    with pytest.raises(UsageError, match="no model is called"):
        untrained("nobody")


def test_mask_rcnn_has_stages_that_pool_for_each_box(mask_rcnn, picture):
    (line,) = measure_together([mask_rcnn], [picture], repeats=2, objects=5)
    pooled = [stage.name for stage in line.stages if stage.per_object]
    assert pooled == ["pool boxes", "box head", "pool masks", "mask head"]
    assert all(stage.seconds > 0 for stage in line.stages)
    assert sum(stage.seconds for stage in line.stages) == pytest.approx(line.seconds, rel=0.5)
    assert line.num_objects == 5
    assert line.image_size == (64, 96)  # 64 x 85, filled up to a multiple of 32
    assert line.model == "maskrcnn-resnet50 at 64"


def test_what_mask_rcnn_finds_is_what_torchvision_says(mask_rcnn, picture):
    network = mask_rcnn._network
    (result,) = mask_rcnn.detect([picture])
    with torch.inference_mode():
        (found,) = network([torch.from_numpy(picture).permute(2, 0, 1) / 255])
    from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights

    names = MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]  # a table: nothing is fetched
    wanted = [names[label] for label in found["labels"]]
    known = [place for place, name in enumerate(wanted) if name != "N/A"]
    assert [result.names[label] for label in result.labels] == [wanted[i] for i in known]
    np.testing.assert_array_equal(result.scores, found["scores"][known])
    masks = (found["masks"][known, 0] > 0.5).numpy()
    np.testing.assert_array_equal(result.masks.numpy(), masks)
    assert median(masks.sum((1, 2))) > 0


def test_weights_of_mask_rcnn_come_from_a_file(mask_rcnn, picture, tmp_path):
    state = mask_rcnn._network.state_dict()
    state["roi_heads.box_predictor.cls_score.bias"] = torch.zeros(91)
    # Torchvision's frozen batch norm saves no counters.
    saved = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    torch.save(saved, tmp_path / "coco.pth")
    loaded = MaskRcnn(device=CPU, weights=tmp_path / "coco.pth", short_side=64)
    for key, tensor in loaded._network.state_dict().items():
        assert torch.equal(tensor, state[key]), key
    del saved["backbone.body.conv1.weight"]
    torch.save(saved, tmp_path / "half.pth")
    with pytest.raises(CheckpointError, match=r"half\.pth does not fit .*conv1\.weight"):
        MaskRcnn(device=CPU, weights=tmp_path / "half.pth", short_side=64)


def test_refusals(tiny_run, picture):
    model = load(tiny_run, device="cpu")
    with pytest.raises(UsageError, match="no picture"):
        measure(model, [])
    with pytest.raises(UsageError, match="repeats must be at least 1"):
        measure(model, [picture], repeats=0)
    with pytest.raises(UsageError, match="objects must be at least 1, not 0"):
        measure_growth([TimedPredictor(model, "tiny")], picture, [0, 3], repeats=1)
    with pytest.raises(UsageError, match="a shorter side of 8 is too small"):
        MaskRcnn(device=CPU, short_side=8)
    assert preset("yolact-nano").detection.score_threshold == 0.05  # as measure() says
