import base64
import json
import re

import cv2
import numpy as np
import pytest
import torch

from yolact.inference.explanation import explain
from yolact.inference.load import load
from yolact.reporting.scene import scene


@pytest.fixture(scope="module")
def explanation(tiny_run, tiny_data):
    picture = next((tiny_data / "images").glob("val_*"))
    return explain(load(tiny_run, device="cpu"), str(picture), score=0.0, max_detections=7)


def atlas(uri: str, count: int) -> np.ndarray:
    data = np.frombuffer(base64.b64decode(uri.split(",")[1]), np.uint8)
    grey = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    return grey.reshape(count, -1, grey.shape[1]) / 255


def test_contributions_add_up_to_the_mask(explanation):
    found = explanation.detections
    assert len(found) == 7
    for i in range(len(found)):
        by_hand = sum(
            float(c) * p for c, p in zip(found.coefficients[i], found.prototypes, strict=True)
        )
        torch.testing.assert_close(explanation.logits(i), by_hand, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(
            explanation.soft_masks[i], torch.sigmoid(by_hand), atol=1e-6, rtol=1e-5
        )
        outside = explanation.cropped_masks[i] != explanation.soft_masks[i]
        assert (explanation.cropped_masks[i][outside] == 0).all()


def test_the_result_is_the_models_own(explanation, tiny_run, tiny_data):
    picture = next((tiny_data / "images").glob("val_*"))
    result = load(tiny_run, device="cpu")(str(picture), score=0.0, max_detections=7)
    np.testing.assert_array_equal(explanation.result.boxes, result.boxes)
    np.testing.assert_array_equal(explanation.result.masks.numpy(), result.masks.numpy())


def test_strongest_orders_by_the_mean_inside_the_box(explanation):
    found = explanation.detections
    height, width = found.prototypes.shape[1:]
    for i in range(len(found)):
        order = explanation.strongest(i)
        assert sorted(order) == list(range(len(found.prototypes)))
        x1, y1, x2, y2 = found.boxes[i].tolist()
        inside = [
            (row, column)
            for row in range(height)
            for column in range(width)
            if row + 1 > y1 * height
            and row < y2 * height
            and column + 1 > x1 * width
            and column < x2 * width
        ]
        rows, columns = map(list, zip(*inside, strict=True))
        sizes = explanation.contributions(i)[:, rows, columns].mean(dim=1).abs()[order]
        assert (sizes[:-1] >= sizes[1:] - 1e-6).all()


def test_what_the_page_sums_is_what_the_network_summed(explanation):
    data = scene(explanation)
    found = explanation.detections
    levels = atlas(data["prototypes"], len(found.prototypes))
    low, high = np.array(data["low"]), np.array(data["high"])
    prototypes = low[:, None, None] + levels * (high - low)[:, None, None]
    for i, detection in enumerate(data["detections"]):
        coefficients = np.array(detection["coefficients"])
        shown = np.einsum("k,khw->hw", coefficients, prototypes)
        tolerance = np.sum(np.abs(coefficients) * (high - low)) / 510 + 1e-3
        assert np.abs(shown - explanation.logits(i).numpy()).max() <= tolerance
    masks = atlas(data["masks"], len(found))
    assert np.abs(masks - explanation.cropped_masks.numpy()).max() <= 0.5 / 255 + 1e-6


def test_the_commands(command, tiny_run, tiny_data, tmp_path):
    picture = next((tiny_data / "images").glob("val_*"))
    done = command("explain", tiny_run, picture, "--score", "0", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    page = tmp_path / f"{picture.stem}-explained.html"
    assert answer["out"] == page.name
    text = page.read_text(encoding="utf-8")
    document = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    shown = document["scenes"][0]["detections"]
    assert [one["name"] for one in shown] == [one["name"] for one in answer["objects"]]
    assert not re.findall(r'(?:src|href)="(?!data:|#)', text)
    assert "http" not in text.replace("http://www.w3.org", "")

    done = command("explain", tiny_run, picture, "--out", "x.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert cv2.imread(str(tmp_path / "x.png")) is not None


def test_a_picture_without_objects(tiny_run, tiny_data, tmp_path):
    from yolact.reporting.explain_page import write_explanation
    from yolact.reporting.explain_picture import draw_explanation

    picture = next((tiny_data / "images").glob("val_*"))
    nothing = explain(load(tiny_run, device="cpu"), str(picture), score=1.0)
    assert not len(nothing.detections)
    write_explanation(nothing, tmp_path / "x.html", model="m", picture="<b>")
    assert "&lt;b&gt;" in (tmp_path / "x.html").read_text()
    draw_explanation(nothing, tmp_path / "x.png")


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["gone.jpg"], 3, "there is no picture"),
        (["IMAGE", "--out", "x.txt"], 2, "--out is a page (.html) or a picture (.png)"),
        (["IMAGE", "--score", "2"], 2, "score must lie in [0, 1]"),
    ],
)
def test_bad_input(quick_command, tiny_run, tiny_data, tmp_path, words, code, text):
    picture = next((tiny_data / "images").glob("val_*"))
    words = [picture if word == "IMAGE" else word for word in words]
    done = quick_command("explain", tiny_run, *words, cwd=tmp_path)
    assert done.returncode == code
    assert text in done.stderr
    assert not list(tmp_path.iterdir())
