"""``analysis.json``: true numbers, sentences that fit, pictures that show it, and a bounded size."""

import base64
import json

import cv2
import numpy as np
import pytest
from faster_coco_eval.core import mask as rle_api
from PIL import Image

from yolact.data.formats.read import load_split
from yolact.evaluation.analysis import analyse
from yolact.evaluation.coco import CocoEvaluator
from yolact.reporting import analysis_file
from yolact.reporting.analysis_file import write_analysis

SMALL, MEDIUM, LARGE = 10, 40, 100  # sides of squares
NAMES = ("cat", "emu")


def mask(size, y, x, side):
    bitmap = np.zeros(size, np.uint8, order="F")
    bitmap[y : y + side, x : x + side] = 1
    rle = rle_api.encode(bitmap)
    return {"size": list(size), "counts": rle["counts"].decode()}


@pytest.fixture
def written(tmp_path):
    """``written(pictures)``: the file for ``(objects, detections)``, each (class, y, x, side[, score or crowd])."""

    def write(pictures, size=(120, 300)):
        folder = tmp_path / "data"
        (folder / "annotations").mkdir(parents=True)
        (folder / "images").mkdir()
        annotations = []
        for i, (objects, _) in enumerate(pictures):
            noise = np.random.default_rng(i).integers(0, 256, (*size, 3), dtype=np.uint8)
            Image.fromarray(noise).save(folder / "images" / f"{i}.png")
            annotations += [
                {
                    "id": len(annotations) + k,
                    "image_id": i + 1,
                    "category_id": label + 1,
                    "segmentation": mask(size, y, x, side),
                    "bbox": [x, y, side, side],
                    "area": side * side,
                    "iscrowd": int(bool(crowd)),
                }
                for k, (label, y, x, side, *crowd) in enumerate(objects)
            ]
        document = {
            "images": [
                {"id": i + 1, "file_name": f"{i}.png", "height": size[0], "width": size[1]}
                for i in range(len(pictures))
            ],
            "categories": [{"id": k + 1, "name": name} for k, name in enumerate(NAMES)],
            "annotations": annotations,
        }
        (folder / "annotations" / "instances_val.json").write_text(json.dumps(document))
        instances = load_split(folder, "val")
        evaluator = CocoEvaluator(instances.ground_truth)
        for i, (_, detections) in enumerate(pictures):
            evaluator.update(
                i + 1,
                [[x, y, x + side, y + side] for _, y, x, side, _ in detections],
                [score for *_, score in detections],
                [label + 1 for label, *_ in detections],
                [mask(size, y, x, side) for _, y, x, side, _ in detections],
            )
        path = write_analysis(tmp_path, 40, analyse(evaluator), evaluator, instances)
        assert path == tmp_path / "analysis.json"
        return json.loads(path.read_text(encoding="utf-8"))

    return write


def pixels(uri):
    kind, data = uri.split(",")
    assert kind == "data:image/jpeg;base64"
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    return picture[..., ::-1].astype(int)


def test_numbers_are_those_of_the_analysis(written):
    perfect = ([(0, 0, 0, LARGE)], [(0, 0, 0, LARGE, 0.9)])
    mixed = (
        [(0, 0, 0, SMALL), (0, 0, 20, MEDIUM), (0, 0, 100, LARGE), (0, 0, 250, 40, "crowd")],
        [(0, 0, 30, MEDIUM, 0.8), (1, 0, 100, LARGE, 0.7), (0, 100, 0, SMALL, 0.6)],
    )
    document = written([perfect, mixed])

    assert (document["step"], document["score"], document["iou"]) == (40, 0.3, 0.5)
    assert document["classes"] == ["cat", "emu"]
    assert document["confusion"] == [[2, 1, 1], [0, 0, 0], [1, 0, 0]]
    assert document["counts"] == {
        "missed": 1,
        "wrong class": 1,
        "badly cut": 0,
        "invented": 1,
        "double": 0,
    }
    by_size = {
        "small": {"objects": 1, "found": 0, "missed": 1, "wrong class": 0, "badly cut": 0},
        "medium": {"objects": 1, "found": 1, "missed": 0, "wrong class": 0, "badly cut": 0},
        "large": {"objects": 2, "found": 1, "missed": 0, "wrong class": 1, "badly cut": 0},
    }
    assert document["counts_by_size"] == by_size
    mask50 = document["precision"]["mask"]["0.50"]
    # Of four cats the best two detections are right, so half of the 101 recalls have precision 1.
    assert mask50["cat"] == mask50["all"] == [1.0] * 51 + [0.0] * 50
    assert mask50["emu"] is None
    assert document["precision"]["box"]["0.75"]["cat"] == [1.0] * 26 + [0.0] * 75
    [picture] = document["worst"]
    assert (picture["name"], picture["image_id"]) == ("1.png", 2)
    assert picture["counts"] == document["counts"]


@pytest.mark.parametrize(
    ("objects", "detections", "reason"),
    [
        ([(0, 0, 0, SMALL)], [], "1 of 1 object missed, a small cat."),
        ([(1, 0, 0, MEDIUM)], [], "1 of 1 object missed, an emu."),
        (
            [(0, 0, 0, SMALL), (1, 0, 20, SMALL), (0, 0, 40, LARGE)],
            [(0, 0, 40, LARGE, 0.9)],
            "2 of 3 objects missed, both small.",
        ),
        ([(0, 0, 110 * i, LARGE) for i in range(2)], [], "2 of 2 objects missed, both large."),
        ([(0, 0, 20 * i, SMALL) for i in range(3)], [], "3 of 3 objects missed, all small."),
        ([(0, 0, 0, SMALL), (0, 0, 20, LARGE)], [], "2 of 2 objects missed."),
        ([], [(1, 0, 0, SMALL, 0.815)], "an emu invented with score 0.81."),
        (
            [],
            [(1, 0, 0, SMALL, 0.5), (0, 0, 50, SMALL, 0.75)],
            "2 objects invented, the surest a cat with score 0.75.",
        ),
        ([(0, 0, 0, LARGE)], [(1, 0, 0, LARGE, 0.5)], "a cat taken for an emu."),
        (
            [(0, 0, 0, LARGE), (1, 0, 150, LARGE)],
            [(1, 0, 0, LARGE, 0.6), (0, 0, 150, LARGE, 0.5)],
            "2 of the wrong class, such as a cat taken for an emu.",
        ),
        ([(0, 0, 0, LARGE)], [(0, 0, 50, LARGE, 0.5)], "a cat badly cut (IoU 0.33)."),
        (
            [(0, 0, 0, 60), (0, 0, 150, 60)],
            [(0, 0, 30, 60, 0.5), (0, 0, 180, 60, 0.5), (1, 90, 0, SMALL, 0.6)],
            "2 objects badly cut; an emu invented with score 0.60.",
        ),
        ([(0, 0, 0, 60)], [(0, 0, 0, 60, 0.9), (0, 0, 4, 60, 0.5)], "a cat found twice."),
        (
            [(0, 0, 0, 60)],
            [(0, 0, 0, 60, 0.9), (0, 0, 4, 60, 0.5), (0, 0, 8, 60, 0.4)],
            "2 superfluous detections of objects already found.",
        ),
    ],
)
def test_reasons_in_words(written, objects, detections, reason):
    assert written([(objects, detections)])["worst"][0]["reason"] == reason


def test_worst_first(written):
    """Number of errors times their share: of four objects two, two of two, one of one, one of four."""
    four = [(0, 0, 20 * i, SMALL) for i in range(4)]
    found = [(*item, 0.9) for item in four]
    pictures = [(four, found[:3]), (four[:1], []), (four[:2], []), (four, found), (four, found[:2])]
    document = written(pictures)
    assert [picture["image_id"] for picture in document["worst"]] == [3, 2, 5, 1]


def test_pictures_show_truth_and_detections_in_the_colour_of_the_class(written):
    objects = [(0, 10, 10, LARGE), (0, 10, 200, 80, "crowd")]
    document = written([(objects, [(1, 10, 190, LARGE, 0.9), (0, 0, 0, 120, 0.2)])])
    [picture] = document["worst"]
    plain = np.random.default_rng(0).integers(0, 256, (120, 300, 3))
    tint = {}
    for name, inside, outside in (("truth", 30, 230), ("found", 230, 30)):
        shown = pixels(picture[name])
        assert shown.shape == (120, 300, 3)
        window = np.s_[60:100, inside : inside + 40]
        tint[name] = shown[window].mean(axis=(0, 1)) - plain[window].mean(axis=(0, 1))
        elsewhere = np.s_[60:100, outside : outside + 40]
        assert np.abs((shown - plain)[elsewhere].mean(axis=(0, 1))).max() < 6
        assert np.abs(tint[name]).max() > 15
    assert np.abs(tint["truth"] - tint["found"]).max() > 15  # a cat is no emu


def test_nothing_wrong_and_nothing_there(written):
    document = written([([], []), ([(0, 0, 0, SMALL)], [(0, 0, 0, SMALL, 0.9)])])
    assert document["worst"] == []
    assert set(document["counts"].values()) == {0}


def test_no_object_at_all(written):
    document = written([([], [])])
    assert document["precision"]["mask"]["0.50"] == {"cat": None, "emu": None, "all": None}
    assert document["confusion"] == [[0] * 3] * 3


def test_the_file_stays_small_and_reads_only_what_it_shows(written, monkeypatch):
    """Noise, which no JPEG makes small, of twice the size that is shown."""
    read = []
    original = analysis_file.read_image
    monkeypatch.setattr(
        analysis_file, "read_image", lambda path: read.append(path) or original(path)
    )
    document = written([([(0, 0, 0, SMALL)], [])] * 14, size=(400, 960))
    assert [picture["image_id"] for picture in document["worst"]] == list(range(1, 13))
    assert len(read) == 12
    assert pixels(document["worst"][0]["truth"]).shape == (200, 480, 3)
    assert len(json.dumps(document)) < 2_000_000
