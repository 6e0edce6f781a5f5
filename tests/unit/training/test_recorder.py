import copy
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from yolact.artifacts.run_directory import read_metrics
from yolact.data.coco import Annotation, ImageRecord
from yolact.data.formats.read import load_split
from yolact.inference.explanation import explain
from yolact.inference.load import load
from yolact.inference.predictor import Predictor
from yolact.losses.matching import match_batch
from yolact.model.build import build_yolact
from yolact.runtimes.torch_runtime import TorchRuntime
from yolact.structures import Target
from yolact.training import run as run_module
from yolact.training.recorder import Recorder, choose_pictures, is_due, negatives_by_class
from yolact.training.run import train


def record(*objects, crowd=()):
    """A picture with objects given as (label, side in pixels)."""
    annotations = [
        Annotation(label, (0.0, 0.0, side, side), [], is_crowd)
        for shapes, is_crowd in ((objects, False), (crowd, True))
        for label, side in shapes
    ]
    return ImageRecord(1, Path("x.jpg"), 200, 200, tuple(annotations))


def test_steps_double():
    assert [step for step in range(1000) if is_due(step)] == [0, 10, 20, 40, 80, 160, 320, 640]


class TestChoice:
    def test_classes_and_sizes_first_then_what_is_left_in_order_of_few_objects(self):
        records = [
            record(),
            record((0, 50), (0, 50)),
            record((0, 50)),
            record((1, 10), (0, 50), (0, 120)),
            record((2, 50), crowd=[(3, 50)]),
        ]
        assert choose_pictures(records, 9) == [3, 4, 2, 1]

    def test_fewer_are_the_beginning_of_more(self):
        records = [record((i % 3, 20 + 30 * (i % 5))) for i in range(12)]
        everything = choose_pictures(records, 12)
        assert sorted(everything) == list(range(12))
        assert [choose_pictures(records, n) for n in range(13)] == [
            everything[:n] for n in range(13)
        ]

    def test_crowds_and_nothing_show_nothing(self):
        assert choose_pictures([record(), record(crowd=[(0, 50)])], 4) == []


def test_negatives_are_counted_by_their_likest_class():
    anchors = torch.tensor([[x, 0.5, 0.1, 0.1] for x in (0.1, 0.3, 0.5, 0.7, 0.9)])
    target = Target(
        boxes=torch.tensor([[0.05, 0.45, 0.15, 0.55]]),  # the first anchor's
        labels=torch.tensor([0]),
        masks=torch.ones(1, 4, 4, dtype=torch.uint8),
        is_crowd=torch.tensor([False]),
    )
    logits = torch.zeros(1, 5, 4)
    logits[0, 0, 1] = 9.0  # the positive is not asked
    logits[0, 1, 2] = 5.0
    logits[0, 2, 3] = 4.0
    logits[0, 3, 3] = 3.0
    logits[0, 4, 1] = 1.0  # too easy: three negatives per positive
    shares = negatives_by_class(logits, match_batch((target,), anchors), 3)
    assert shares == pytest.approx([0, 1 / 3, 2 / 3])
    assert sum(shares) == pytest.approx(1)


@pytest.fixture(scope="module")
def watched(tiny_data, tiny_settings, tmp_path_factory):
    """A letterboxed run with an average, its snapshots as listeners get them, and its folder."""
    folder = tmp_path_factory.mktemp("watched") / "run"
    snapshots, modes = [], []

    class Watching(Recorder):
        def __init__(self, *arguments, **named):
            super().__init__(*arguments, **named)
            self.listeners.append(snapshots.append)

        def on_train_batch_end(self, trainer, module, *rest):
            before = [part.training for part in module.modules()]
            super().on_train_batch_end(trainer, module, *rest)
            modes.append(before == [part.training for part in module.modules()])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "Recorder", Watching)
        train(
            tiny_data,
            out=folder,
            steps=12,
            letterbox=True,
            **tiny_settings | {"validations": 3, "snapshots": 4},
        )
    assert all(modes)
    return folder, snapshots


def test_looking_changes_no_weight(watched, tiny_data, tiny_settings, tmp_path):
    settings = tiny_settings | {"validations": 3, "snapshots": 0}
    train(tiny_data, out=tmp_path / "run", steps=12, letterbox=True, **settings)
    assert not (tmp_path / "run" / "snapshots").exists()
    seen, unseen = (
        torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]
        for folder in (watched[0], tmp_path / "run")
    )
    assert seen.keys() == unseen.keys()
    assert all(torch.equal(seen[name], unseen[name]) for name in seen)


def test_one_snapshot_a_step_and_metrics_where_they_were_measured(watched):
    folder, snapshots = watched
    # Twelve steps of eight are twenty-four of four.
    assert [s.step for s in snapshots] == [0, 8, 10, 16, 20, 24]
    assert [s.step for s in snapshots if s.metrics is not None] == [8, 16, 24]
    logged = {
        r["step"]: r["mask/ap"] for r in read_metrics(folder / "metrics.jsonl") if "mask/ap" in r
    }
    assert {s.step: s.metrics.mask.ap for s in snapshots if s.metrics} == logged
    names = sorted(path.name for path in (folder / "snapshots").iterdir())
    assert names == [f"{s.step:08d}.json" for s in snapshots] + ["pictures.json"]
    for snapshot in snapshots:
        assert sum(snapshot.negatives.values()) == pytest.approx(1)
        assert len(snapshot.explanations) == len(snapshot.pictures) == 4
        assert all(len(each.detections) == 6 for each in snapshot.explanations)


def test_the_last_snapshot_is_what_explain_says_of_the_last_weights(watched):
    folder, snapshots = watched
    metadata = load(folder).metadata
    checkpoint = torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]
    prefix = "average.module."
    weights = {k.removeprefix(prefix): v for k, v in checkpoint.items() if k.startswith(prefix)}
    network = build_yolact(metadata.model)
    network.load_state_dict(weights)
    model = Predictor(TorchRuntime(network, torch.device("cpu")), metadata)
    for picture, recorded in zip(snapshots[-1].pictures, snapshots[-1].explanations, strict=True):
        again = explain(model, picture.path, score=0, score_threshold=0.0, max_detections=6)
        assert (again.view == recorded.view).all()
        # Batches of one and of four differ in the last bits.
        torch.testing.assert_close(
            again.detections.scores, recorded.detections.scores, rtol=1e-3, atol=1e-5
        )
        torch.testing.assert_close(
            again.detections.prototypes, recorded.detections.prototypes, rtol=1e-3, atol=1e-4
        )


def test_truth_lies_where_the_network_sees_the_picture(watched, tiny_data):
    instances = load_split(tiny_data, "val")
    records = {each.image_id: each for each in instances.records}
    for picture in watched[1][0].pictures:
        objects = [a for a in records[picture.image_id].annotations if not a.is_crowd]
        assert picture.labels.tolist() == [a.label for a in objects]
        assert picture.masks.shape == (len(objects), 96, 96)
        # 128 x 96 pixels in 96 x 96: three quarters as large, with bars of 12 above and below.
        expected = torch.tensor([a.box for a in objects]) * 0.75 + torch.tensor([0, 12, 0, 12])
        torch.testing.assert_close(picture.boxes * 96, expected, atol=0.01, rtol=0)
        for mask, box in zip(picture.masks, expected, strict=True):
            rows, columns = mask.nonzero().T
            assert (columns.min() >= box[0] - 1.5) & (columns.max() <= box[2] + 1.5)
            assert (rows.min() >= box[1] - 1.5) & (rows.max() <= box[3] + 1.5)


def test_matched_anchors_are_the_positives_of_the_steps(
    tiny_data, tiny_settings, tmp_path, monkeypatch
):
    counts = []
    original = run_module.YolactModule._positives_by_level

    def counted(self, matchings):
        counts.append(sum(float(m.num_positives) for m in matchings))
        return original(self, matchings)

    monkeypatch.setattr(run_module.YolactModule, "_positives_by_level", counted)
    settings = tiny_settings | {"accumulate": 2, "snapshots": 0}
    run = train(tiny_data, out=tmp_path / "run", steps=5, **settings)
    rows = [r for r in read_metrics(run.folder / "metrics.jsonl") if "loss/total" in r]
    (row,) = rows
    levels = [row[f"matched/P{level}"] for level in range(3, 8)]
    assert sum(levels) == pytest.approx(sum(counts) / len(counts) / 4, abs=1e-3)
    assert sum(level > 0 for level in levels) >= 2


def test_levels_are_counted_apart():
    module = copy.copy(nn.Module())
    module._levels = {"P3": 3, "P4": 2}

    class Part:
        def __init__(self, rows):
            self.is_positive = torch.tensor(rows, dtype=torch.bool)

    parts = [Part([[1, 0, 1, 0, 1], [0, 0, 1, 0, 0]]), Part([[1, 1, 1, 1, 1]])]
    counts = run_module.YolactModule._positives_by_level(module, parts)
    assert counts.tolist() == [6, 3]


def test_about_tells_what_the_run_is_made_of(watched, tiny_data):
    about = json.loads((watched[0] / "about.json").read_text())
    assert about["name"] == "yolact-nano"
    assert about["versions"]["torch"] == torch.__version__.split("+")[0]
    assert about["device"] == "cpu"
    assert about["image_size"] == [96, 96]
    assert len(about["class_names"]) == 10
    assert about["parameters"] > 1e6
    assert "training" not in about["provenance"]
    train_part, val_part = about["data"]["train"], about["data"]["val"]
    assert (train_part["images"], val_part["images"]) == (24, 12)
    document = json.loads((tiny_data / "annotations" / "instances_val.json").read_text())
    assert val_part["objects"] == sum(not a["iscrowd"] for a in document["annotations"])
    assert len({train_part["fingerprint"], val_part["fingerprint"]}) == 2
