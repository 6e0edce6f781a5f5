import base64
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from yolact.artifacts.run_directory import snapshot_files
from yolact.inference.explanation import Explanation
from yolact.reporting.scene import scene, sums
from yolact.reporting.snapshots import (
    Snapshot,
    WatchedPicture,
    nearest_truth,
    write_pictures,
    write_snapshot,
)
from yolact.results import Result
from yolact.structures import Detections

NAMES = ("cat", "dog")


def explanation(count=3, *, prototypes=8, size=(48, 64), seed=0):
    """Random detections in a random picture."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 0.5
    detections = Detections(
        boxes=torch.cat((corner, corner + 0.4), dim=1),
        scores=torch.linspace(0.9, 0.1, count),
        labels=torch.arange(count) % 2,
        coefficients=torch.rand(count, prototypes, generator=generator) * 2 - 1,
        prototypes=torch.rand(prototypes, *size, generator=generator) * 3,
    )
    view = np.full((2 * size[0], 2 * size[1], 3), 90, dtype=np.uint8)
    result = Result.from_detections(
        detections, view.shape[:2], NAMES, region=(0, 0, 1, 1), image=view
    )
    return Explanation(view, detections, result)


def snapshot(*explanations, step=120):
    height, width = explanations[0].view.shape[:2]
    masks = torch.zeros(2, height, width, dtype=torch.bool)
    masks[0, : height // 2] = True
    masks[1, height // 2 :, : width // 2] = True
    picture = WatchedPicture(
        "a.jpg",
        Path("a.jpg"),
        7,
        boxes=torch.tensor([[0, 0, 1, 0.5], [0, 0.5, 0.5, 1]]),
        labels=torch.tensor([1, 0]),
        masks=masks,
    )
    count = len(explanations)
    return Snapshot(
        step, 31.416, (picture,) * count, explanations, {"cat": 0.25, "dog": 0.75}, None
    )


def tiles_of(uri, size):
    data = np.frombuffer(base64.b64decode(uri.split(",")[1]), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE).reshape(-1, *size) / 255


def test_files_are_as_the_module_says(tmp_path):
    taken = snapshot(explanation())
    write_pictures(tmp_path, taken)
    write_snapshot(tmp_path, taken)
    (entry,) = json.loads((tmp_path / "pictures.json").read_text())
    assert (entry["name"], entry["image_id"]) == ("a.jpg", 7)
    assert entry["truth"]["names"] == ["dog", "cat"]
    assert entry["truth"]["boxes"] == [[0, 0, 1, 0.5], [0, 0.5, 0.5, 1]]
    masks = tiles_of(entry["truth"]["masks"], entry["size"])
    assert masks.mean(axis=(1, 2)) == pytest.approx([0.5, 0.25])
    document = json.loads((tmp_path / "00000120.json").read_text())
    assert document["step"] == 120
    assert document["seconds"] == 31.42
    assert document["negatives"] == {"cat": 0.25, "dog": 0.75}
    assert document["metrics"] is None
    (told,) = document["scenes"]
    assert "view" not in told
    assert "overlay" not in told
    assert told["size"] == entry["size"]
    assert {"iou", "truth", "name", "score", "box", "coefficients"} == set(told["detections"][0])
    assert snapshot_files(tmp_path) == {120: tmp_path / "00000120.json"}


def test_without_a_limit_it_is_the_scene_of_the_page():
    one = explanation()
    whole = scene(one)
    assert {k: v for k, v in whole.items() if k not in ("view", "overlay")} == sums(one)


def test_smaller_tiles_keep_their_aspect_and_the_sums():
    one = explanation(size=(48, 96))
    told = sums(one, cells=8 * 24 * 48)
    assert told["size"] == [24, 48]
    levels = tiles_of(told["prototypes"], told["size"])
    low, high = np.array(told["low"]), np.array(told["high"])
    prototypes = levels * (high - low)[:, None, None] + low[:, None, None]
    coefficients = np.array(told["detections"][0]["coefficients"])
    logits = np.einsum("k,khw->hw", coefficients, prototypes)
    pooled = one.logits(0).reshape(24, 2, 48, 2).mean(dim=(1, 3)).numpy()
    assert np.abs(logits - pooled).max() <= np.abs(coefficients) @ (high - low) / 510 + 1e-3
    masks = tiles_of(told["masks"], told["size"])
    expected = one.cropped_masks.reshape(3, 24, 2, 48, 2).mean(dim=(2, 4)).numpy()
    assert np.abs(masks - expected).max() <= 0.5 / 255 + 1e-6


def test_small_tiles_are_never_enlarged():
    assert sums(explanation(size=(5, 7)), cells=10**6)["size"] == [5, 7]


def test_nothing_found_and_numbers_that_are_none_are_still_json(tmp_path):
    broken = explanation(2)
    broken.detections.prototypes[0, 0, 0] = torch.nan
    broken.detections.boxes[0, 2] = torch.inf
    write_snapshot(tmp_path, snapshot(explanation(0), broken))
    document = json.loads((tmp_path / "00000120.json").read_text())
    assert document["scenes"][0]["detections"] == []
    assert document["scenes"][0]["masks"] == ""


def test_iou_is_that_of_the_pixels():
    one = explanation()
    masks = snapshot(one).pictures[0].masks
    soft = torch.nn.functional.interpolate(
        one.cropped_masks[None], masks.shape[1:], mode="bilinear", align_corners=False
    )[0]
    for (iou, truth), found in zip(nearest_truth(one, masks), soft > 0.5, strict=True):
        each = [float((found & true).sum() / (found | true).sum()) for true in masks]
        assert iou == pytest.approx(max(each))
        assert truth == each.index(max(each))
    nothing = torch.zeros(2, *masks.shape[1:], dtype=torch.bool)
    assert nearest_truth(one, nothing) == [(0.0, None)] * 3
    assert nearest_truth(one, nothing[:0]) == [(0.0, None)] * 3


def test_a_snapshot_stays_small_even_if_prototypes_are_noise(tmp_path):
    """Noise does not compress; real prototypes do (docs/training.md has what was measured)."""
    many = [explanation(6, prototypes=32, size=(138, 138), seed=i) for i in range(4)]
    write_snapshot(tmp_path, snapshot(*many))
    assert (tmp_path / "00000120.json").stat().st_size < 270_000
