"""YOLACT++ learns: deformable blocks and the judge of masks, from labels to AP, small."""

import math

import numpy as np
import pytest
import torch

import yolact
from yolact.artifacts.run_directory import read_metrics
from yolact.model.deform_conv import DeformableConv
from yolact.training import callbacks
from yolact.training.run import train

RECIPE = """
base: yolact-plus-resnet50
size: 96
model:
  backbone: resnet26
  backbone_widths: [16, 16, 32, 32]
  fpn_channels: 16
  protonet_channels: 16
  head_channels: 16
training: {batch_size: 4, steps: 3, validations: 1, workers: 0, warmup_steps: 1}
detection: {score_threshold: 0.01}
"""


@pytest.fixture(scope="module")
def run(tiny_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plus")
    recipe = folder / "plus.yaml"
    recipe.write_text(RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks, "_ROW_EVERY_STEPS", 1)
        return train(tiny_data, model=str(recipe), out=folder / "run", device="cpu")


def test_every_step_reports_every_loss(run):
    rows = [row for row in read_metrics(run.folder / "metrics.jsonl") if "loss/total" in row]
    assert len(rows) == 6
    terms = ("box", "class", "mask", "semantic", "mask_iou")
    for row in rows:
        losses = [row[f"loss/{term}"] for term in terms]
        assert all(map(math.isfinite, losses))
        assert row["loss/total"] == pytest.approx(sum(losses))
    assert any(row["loss/mask_iou"] > 0 for row in rows)


def test_offsets_leave_zero_and_the_judge_learns(run):
    predictor = yolact.load(run.best, device="cpu")
    model, metadata = predictor.runtime.network, predictor.metadata
    layers = [m for m in model.modules() if isinstance(m, DeformableConv)]
    assert len(layers) == 6
    for layer in layers:
        assert layer.conv_offset_mask.weight.any()
    assert metadata.model.mask_rescoring
    assert model.mask_scorer.project.bias.any()


def test_the_artifact_gives_the_logged_ap_and_two_scores(run, tiny_data):
    model = yolact.load(run.folder, device="cpu")
    metrics = yolact.evaluate(model, tiny_data)
    logged = read_metrics(run.folder / "metrics.jsonl")[-1]
    for kind in ("mask", "box"):
        assert logged[f"{kind}/ap"] == pytest.approx(getattr(metrics, kind).ap, abs=1e-6)
    result = model(tiny_data / "images" / "val_00000.jpg", score=0)
    assert len(result) > 0
    assert (np.diff(result.scores) <= 0).all()
    assert result.mask_scores.shape == result.scores.shape
    assert (result.mask_scores >= 0).all()
    assert not np.array_equal(result.mask_scores, result.scores)


def test_it_goes_on_from_its_checkpoint(run, tiny_data):
    longer = train(tiny_data, out=run.folder, resume=True, steps=4, device="cpu")
    state = torch.load(run.folder / "last.ckpt", weights_only=True)
    assert state["yolact"]["batches_done"] == 8
    assert any("conv_offset_mask" in name for name in state["state_dict"])
    assert any("mask_scorer" in name for name in state["state_dict"])
    assert not longer.interrupted
