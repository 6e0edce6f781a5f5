"""What trackers show of a training, read back from their own files."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from tracked import tensorboard_panels, tensorboard_points, wandb_run
from yolact.evaluation.analysis import Analysis
from yolact.inference.explanation import explain
from yolact.inference.load import load
from yolact.ops.masks import resize_masks
from yolact.reporting.snapshots import Snapshot, WatchedPicture
from yolact.training.callbacks import MetricsLog
from yolact.training.trackers.following import Trackers
from yolact.training.trackers.panels import (
    class_map,
    confusion_picture,
    histograms,
    markdown_table,
    precision_curves,
    predictions,
    prototype_sheet,
    views,
)

SCORES = torch.tensor([0.875, 0.5, 0.25, 0.125])


@pytest.fixture(scope="module")
def snapshot(tiny_run, tiny_data):
    """Two pictures of a network that knows nothing yet, with scores as if it did."""
    model = load(tiny_run, device="cpu")
    document = json.loads((tiny_data / "annotations" / "instances_val.json").read_text())
    place = {c["id"]: label for label, c in enumerate(document["categories"])}
    pictures, explanations = [], []
    for record in document["images"]:
        things = [a for a in document["annotations"] if a["image_id"] == record["id"]]
        if not things or len(pictures) == 2:
            continue
        path = tiny_data / "images" / record["file_name"]
        explanation = explain(model, str(path), score=0.0, max_detections=len(SCORES))
        explanations.append(
            replace(explanation, detections=replace(explanation.detections, scores=SCORES))
        )
        height, width = explanation.view.shape[:2]
        sides = torch.tensor([record["width"], record["height"]] * 2)
        boxes = torch.tensor([a["bbox"] for a in things], dtype=torch.float)
        boxes[:, 2:] += boxes[:, :2]
        masks = torch.zeros(len(things), height, width, dtype=torch.bool)
        for mask, box in zip(masks, boxes / sides, strict=True):
            x1, y1, x2, y2 = (box * torch.tensor([width, height] * 2)).round().int().tolist()
            mask[y1:y2, x1:x2] = True
        labels = torch.tensor([place[a["category_id"]] for a in things])
        watched = WatchedPicture(path.name, path, record["id"], boxes / sides, labels, masks)
        pictures.append(watched)
    return Snapshot(20, 3.5, tuple(pictures), tuple(explanations), {}, None)


@pytest.fixture
def analysis():
    """Three classes: one half found with a slip, one perfect, one without objects."""
    good = np.ones(101)
    half = np.where(np.arange(101) <= 50, 0.8, 0.0)
    none = np.full(101, -1.0)
    confusion = np.array([[3, 1, 0, 2], [0, 7, 0, 0], [0, 0, 0, 0], [1, 0, 2, 0]])
    precision = {"mask": {"0.50": np.stack((half, good, none))}}
    return Analysis(("cat", "dog", "a|b"), precision, confusion, 0.3, 0.5, {})


@pytest.fixture
def told(snapshot, analysis, tmp_path):
    """A run in all trackers with two snapshots and an analysis."""

    def tell(names):
        trackers = Trackers(names)
        with trackers.following(MetricsLog(tmp_path), tmp_path, {}, lambda: False):
            trackers.show(replace(snapshot, step=0))
            trackers.show(snapshot)
            trackers.show_analysis(20, analysis)
        return tmp_path

    return tell


def painted(masks, labels, scores=None):
    """Pixel by pixel: the label + 1 of the best mask there."""
    kept = [i for i in range(len(masks)) if scores is None or scores[i] > 0.15]
    expected = np.zeros(masks.shape[1:], dtype=np.uint8)
    for i in kept[::-1]:
        expected[masks[i]] = labels[i] + 1
    return expected


def found_masks(explanation):
    size = explanation.view.shape[:2]
    return (resize_masks(explanation.cropped_masks, size) > 0.5).numpy()


def test_pixels_are_the_classes_of_the_masks(snapshot):
    drawn = 0
    for view, picture, explanation in zip(
        views(snapshot), snapshot.pictures, snapshot.explanations, strict=True
    ):
        found = explanation.detections
        expected = painted(found_masks(explanation), found.labels.numpy(), found.scores)
        np.testing.assert_array_equal(class_map(view.shown), expected)
        drawn += np.count_nonzero(expected)
        truth = painted(picture.masks.numpy(), picture.labels.numpy())
        np.testing.assert_array_equal(class_map(view.truth), truth)
        height, width, _ = view.image.shape
        assert view.overlay().shape == (height, 2 * width + 4, 3)
    assert drawn > 0


def test_rows_of_predictions_say_what_the_masks_say(snapshot):
    rows = iter(predictions(snapshot))
    for picture, explanation in zip(snapshot.pictures, snapshot.explanations, strict=True):
        found = explanation.detections
        for i, mask in enumerate(found_masks(explanation)):
            step, name, label, score, box, iou, prototypes = next(rows)
            assert (step, name, score) == (20, picture.name, float(SCORES[i]))
            assert label == explanation.result.names[found.labels[i]]
            assert [float(side) for side in box.split()] == pytest.approx(
                found.boxes[i].tolist(), abs=1e-3
            )
            shares = [
                (mask & true).sum() / max((mask | true).sum(), 1) for true in picture.masks.numpy()
            ]
            assert iou == pytest.approx(max(shares), abs=1e-4)
            words = [word.split(": ") for word in prototypes.split(", ")]
            assert [int(number) - 1 for number, _ in words] == explanation.strongest(i)[:3]
            for number, weight in words:
                expected = float(found.coefficients[i, int(number) - 1])
                assert float(weight) == pytest.approx(expected, abs=0.0051)
    assert next(rows, None) is None


def test_a_diverged_network_is_shown_as_far_as_it_can(snapshot):
    def broken(explanation):
        nan = torch.full_like
        found = explanation.detections
        return replace(
            explanation,
            detections=replace(
                found,
                boxes=nan(found.boxes, torch.nan),
                coefficients=nan(found.coefficients, torch.nan),
                prototypes=nan(found.prototypes, torch.inf),
            ),
        )

    bad = replace(snapshot, explanations=tuple(map(broken, snapshot.explanations)))
    assert [len(view.found) for view in views(bad)] == [0, 0]
    assert all(view.overlay().any() for view in views(bad))
    assert set(histograms(bad)) == {"scores"}


def test_curves_of_classes_without_objects_are_left_out(analysis):
    ((name, curves),) = precision_curves(analysis)
    assert name == "mask_0.50"
    assert list(curves) == ["all", "cat", "dog"]
    assert curves["all"][50] == pytest.approx(0.9)
    assert curves["all"][51] == pytest.approx(0.5)
    empty = replace(analysis, precision={"mask": {"0.50": np.full((3, 101), -1.0)}})
    assert list(precision_curves(empty)) == []


def test_a_table_keeps_its_columns():
    assert (
        markdown_table(("a", "b"), [(1, "x|y")]) == "| a | b |\n| --- | --- |\n| 1 | x&#124;y |\n"
    )


def test_tensorboard(told, snapshot, analysis):
    folder = told(["tensorboard"]) / "tensorboard"
    panels = tensorboard_panels(folder)
    names = [picture.name for picture in snapshot.pictures]
    tags = [f"{kind}/{name}" for name in names for kind in ("pictures", "prototypes")]
    assert set(panels["pictures"]) == {*tags, "confusion"}
    for view, explanation in zip(views(snapshot), snapshot.explanations, strict=True):
        for tag, expected in (("pictures", view.overlay()), ("prototypes", None)):
            if expected is None:
                expected = prototype_sheet(explanation)
            shown = panels["pictures"][f"{tag}/{view.name}"]
            assert [step for step, _ in shown] == [0, 20]
            assert np.abs(shown[1][1].astype(int) - expected).mean() < 8  # a JPEG
    ((step, shown),) = panels["pictures"]["confusion"]
    assert step == 20
    assert np.abs(shown.astype(int) - confusion_picture(analysis)).mean() < 8
    for kind, values in histograms(snapshot).items():
        (_, (_, counted)) = panels["histograms"][f"histograms/{kind}"]
        assert counted.num == len(values)
        assert counted.sum == pytest.approx(float(values.sum(dtype=np.float64)), rel=1e-4)
    _, texts = tensorboard_points(folder)
    lines = texts["predictions"].splitlines()
    assert len(lines) == 2 + 8
    assert lines[2].startswith(f"| 20 | {names[0]} | ")


def test_tensorboard_curves_count_in_a_hundred_objects(told):
    curves = tensorboard_panels(told(["tensorboard"]) / "tensorboard")["curves"]
    prefix = "precision_recall/mask_0.50/"
    assert set(curves) == {prefix + name for name in ("all", "cat", "dog")}
    ((step, cat),) = curves[prefix + "cat"]
    true, false, negative, missed, precision, recall = cat
    assert step == 20
    np.testing.assert_allclose(recall, np.arange(101) / 100, rtol=1e-6)
    np.testing.assert_allclose(precision[[0, 50, 51]], [0.8, 0.8, 0.0], rtol=1e-6)
    assert (true[40], false[40], negative[40], missed[40]) == (40, 10, 0, 60)
    assert (true[51:] + false[51:] == 0).all()


def test_wandb(told, snapshot, analysis):
    (file,) = told(["wandb"]).glob("wandb/offline-run-*/*.wandb")
    points, about = wandb_run(file)
    assert not points
    panels, files = about["panels"], file.parent / "files"
    assert [step for step, _ in panels["pictures"]] == [0, 20]
    _, shown = panels["pictures"][1]
    assert shown["captions"] == [picture.name for picture in snapshot.pictures]
    classes = dict(enumerate(snapshot.explanations[0].result.names, 1))
    for number, view in enumerate(views(snapshot)):
        picture = np.array(Image.open(files / shown["filenames"][number]))
        assert np.abs(picture.astype(int) - view.image).mean() < 12  # a JPEG
        for kind, objects, every in (
            ("prediction", view.shown, view.found),
            ("truth", view.truth, view.truth),
        ):
            mask = np.array(Image.open(files / shown["all_masks"][number][kind]["path"]))
            np.testing.assert_array_equal(mask, class_map(objects))
            boxes = json.loads((files / shown["all_boxes"][number][kind]["path"]).read_text())
            assert {int(k): v for k, v in boxes["class_labels"].items()} == classes
            for index, entry in enumerate(boxes["box_data"]):
                assert entry["class_id"] == every.labels[index] + 1
                assert entry["scores"] == {"score": every.scores[index]}
                edges = [entry["position"][edge] for edge in ("minX", "minY", "maxX", "maxY")]
                np.testing.assert_allclose(edges, every.boxes[index], rtol=1e-6)
            assert len(boxes["box_data"]) == len(every)
    for (step, at), expected in zip(panels["predictions"], (0, 20), strict=True):
        table = json.loads((files / at["path"]).read_text())
        assert step == expected
        rows = predictions(replace(snapshot, step=step))
        assert table["columns"][:4] == ["step", "picture", "class", "score"]
        assert [tuple(row) for row in table["data"]] == rows
    for kind, values in histograms(snapshot).items():
        assert sum(panels[f"histograms/{kind}"][1][1]["values"]) == len(values)
    assert panels["prototypes"][1][1]["count"] == 2
    ((_, curves),) = panels["precision_recall/mask_0.50_table"]
    data = json.loads((files / curves["path"]).read_text())["data"]
    assert len(data) == 3 * 101
    assert [0.5, "cat", 0.8] in data
    ((_, confusion),) = panels["confusion_table"]
    cells = json.loads((files / confusion["path"]).read_text())["data"]
    assert len(cells) == 16
    assert ["cat", "nothing found", 2] in cells
    assert ["nothing there", "a|b", 2] in cells
    assert about["charts"] == {
        "confusion": "wandb/confusion_matrix/v1",
        "precision_recall/mask_0.50": "wandb/lineseries/v0",
    }


def test_mlflow_has_them_as_artifacts(told):
    folder = told(["mlflow"])
    identity = json.loads((folder / "trackers.json").read_text())["mlflow"]["run"]
    (artifacts,) = folder.glob(f"mlruns/*/{identity}/artifacts")
    kept = {path.relative_to(artifacts).as_posix() for path in artifacts.rglob("*.*")}
    names = ("picture_1.jpg", "picture_2.jpg", "prototypes_1.jpg", "prototypes_2.jpg")
    expected = {
        f"snapshots/{step}/{name}"
        for step in ("00000000", "00000020")
        for name in (*names, "predictions.md")
    }
    assert kept == {*expected, "analysis/00000020/confusion.jpg"}
