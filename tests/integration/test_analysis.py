"""``analysis.json`` of a real run says what the run's own log and its own model say."""

import json

import numpy as np
import pytest
import torch

import yolact
from oracles import analysis as oracle
from yolact.artifacts.run_directory import read_metrics
from yolact.data.formats.read import load_split
from yolact.evaluation.analysis import analyse
from yolact.inference.evaluate import evaluate_model
from yolact.ops.rle import rle_to_crop
from yolact.training.run import train


@pytest.fixture(scope="module")
def written(tiny_run):
    return json.loads((tiny_run / "analysis.json").read_text(encoding="utf-8"))


def test_mean_of_precision_is_the_logged_ap(written, tiny_run):
    logged = [row for row in read_metrics(tiny_run / "metrics.jsonl") if "mask/ap" in row]
    best = max(logged, key=lambda row: row["mask/ap"])
    assert written["step"] == best["step"]
    for shape in ("mask", "box"):
        for iou, name in (("0.50", "ap50"), ("0.75", "ap75")):
            curve = written["precision"][shape][iou]["all"]
            # The file has five decimals.
            assert np.mean(curve) == pytest.approx(best[f"{shape}/{name}"], abs=5.1e-6)


def bitmap(rle):
    full = np.zeros(rle["size"], dtype=bool)
    crop = rle_to_crop(rle)
    height, width = crop.bitmap.shape
    full[crop.y : crop.y + height, crop.x : crop.x + width] = crop.bitmap
    return full


def test_confusions_are_those_of_the_models_own_predictions(written, tiny_run, tiny_data):
    """Of so short a run no score is above the file's, so a lower one is tried beside it."""
    model = yolact.load(tiny_run, device="cpu")
    instances = load_split(tiny_data, "val")
    evaluator = evaluate_model(model, model.detection(), instances, batch_size=4)
    assert analyse(evaluator).confusion.tolist() == written["confusion"]

    scores = np.sort(np.concatenate([found.scores for found in evaluator.found.values()]))
    score = float(scores[-40])
    label = {category_id: k for k, category_id in enumerate(instances.category_ids)}
    pictures = []
    for record in instances.records:
        objects = [
            (a.label, bitmap(truth["segmentation"]), a.is_crowd)
            for a, truth in zip(
                record.annotations, evaluator.annotations[record.image_id], strict=True
            )
        ]
        found = evaluator.found[record.image_id]
        detections = [
            (label[int(found.category_ids[d])], bitmap(mask), float(found.scores[d]))
            for d, mask in enumerate(found.masks)
            if found.scores[d] > score
        ]
        pictures.append((objects, detections))
    assert sum(len(detections) for _, detections in pictures) == 39
    outcomes = [oracle.judge(*picture, score=score, iou=0.2) for picture in pictures]
    expected = oracle.confusion(pictures, outcomes, len(label))
    assert analyse(evaluator, score=score, iou=0.2).confusion.tolist() == expected.tolist()
    assert expected[:, :-1].sum() > 10  # not only objects that nothing has found


def test_a_resumed_run_keeps_the_analysis_of_its_best(tiny_data, tiny_settings, tmp_path):
    """No later AP is better than one of 2, which the checkpoint is told of."""
    out = tmp_path / "run"
    train(tiny_data, out=out, steps=1, **tiny_settings)
    checkpoint = torch.load(out / "last.ckpt", weights_only=True)
    checkpoint["yolact"]["best_ap"] = 2.0
    torch.save(checkpoint, out / "last.ckpt")
    before = (out / "analysis.json").read_bytes()
    train(tiny_data, out=out, resume=True, steps=2)
    assert len([row for row in read_metrics(out / "metrics.jsonl") if "mask/ap" in row]) == 2
    assert (out / "analysis.json").read_bytes() == before
