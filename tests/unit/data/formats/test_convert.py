import json
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from faster_coco_eval.core import mask as coco_mask
from hypothesis import HealthCheck, given, settings
from PIL import Image

from strategies import coco_documents, write_coco
from yolact.data.coco import to_rle
from yolact.data.formats.convert import TARGETS, convert
from yolact.data.formats.read import list_splits, load_split
from yolact.data.images import opened_picture
from yolact.errors import DataError, UsageError


def labels(data, split="train"):
    """Bytes of each picture -> its objects: label, crowd or not, pixels."""
    found = {}
    for record in load_split(data, split).records:
        with opened_picture(record.path) as file:
            content = file.read()
        found[content] = Counter(
            (
                annotation.label,
                annotation.is_crowd,
                coco_mask.decode(
                    to_rle(annotation.segmentation, record.height, record.width)
                ).tobytes(),
            )
            for annotation in record.annotations
        )
    return found


def expected(before, target):
    """What the target can say of them, how often it cannot, and whether objects share pixels."""
    after, lost, is_overlapping = {}, 0, False
    for content, objects in before.items():
        after[content] = Counter()
        seen = set()
        for (label, is_crowd, pixels), count in objects.items():
            if target != "coco" and (not any(pixels) or (is_crowd and target != "labelme")):
                lost += count
                continue
            after[content][label, is_crowd, pixels] = count
            mine = {(label, int(index)) for index in np.flatnonzero(np.frombuffer(pixels, "u1"))}
            is_overlapping |= count > 1 or bool(seen & mine)
            seen |= mine
    return after, lost, is_overlapping


@pytest.mark.parametrize("target", TARGETS)
@given(document=coco_documents().filter(lambda document: document["images"]))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_valid_coco_file_survives(target, document):
    """There and back again: pixels, classes and crowds where the target has them; losses counted."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data = write_coco(folder / "data", train=document, val=document | {"annotations": []})
        done = convert(data, folder / "there", target)
        convert(folder / "there", folder / "back", "coco")
        assert list_splits(folder / "there") == list_splits(folder / "back") == ("train", "val")
        assert done.splits["train"] == (len(document["images"]), len(document["annotations"]))
        assert not any(labels(folder / "back", "val").values())
        after, lost, is_overlapping = expected(labels(data), target)
        if target == "png" and is_overlapping:
            assert sum(done.not_expressed.values()) > lost
        else:
            assert labels(folder / "there") == labels(folder / "back") == after
            assert sum(done.not_expressed.values()) == lost


# --- Real and generated data ----------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_generated_data_there_and_back(tiny_data, tmp_path, target):
    done = convert(tiny_data, tmp_path / "there", target)
    convert(tmp_path / "there", tmp_path / "back", "coco")
    for split in ("train", "val"):
        after, _, _ = expected(labels(tiny_data, split), target)
        assert labels(tmp_path / "back", split) == after
    crowds = 2 if target in ("yolo", "png") else 0
    assert done.not_expressed == (
        {"crowd regions, which the format cannot mark": crowds} if crowds else {}
    )


@pytest.mark.parametrize("target", ["yolo", "labelme"])
@pytest.mark.parametrize("name", ["photos", "breadboard"])
def test_real_data_there_and_back(real_data, tmp_path, name, target):
    convert(real_data / name, tmp_path / "there", target)
    convert(tmp_path / "there", tmp_path / "back", "coco")
    after, _, _ = expected(labels(real_data / name, "val"), target)
    assert labels(tmp_path / "back", "val") == after


# --- Details --------------------------------------------------------------------------------------


def document(*file_names, names=("cat",), **more):
    return {
        "images": [
            {"id": number, "file_name": name, "height": 4, "width": 4}
            for number, name in enumerate(file_names, start=1)
        ],
        "annotations": [],
        "categories": [{"id": i, "name": name} for i, name in enumerate(names, start=1)],
    } | more


def test_a_coco_file_keeps_what_it_says(lay_out, tmp_path):
    said = document(
        "sub/a.png",
        info={"year": 2024},
        annotations=[
            {"id": 900, "image_id": 1, "category_id": 1, "origin": "own", "area": 3.5,
             "segmentation": [[0.5, 0.5, 3, 0.5, 3, 3]], "bbox": [0, 0, 4, 4]},
            {"image_id": 1, "category_id": 1, "bbox": [],
             "segmentation": [[1, 1, 3, 1, 3, 3, 1, 3]]},
        ],
    )  # fmt: skip
    data = lay_out({"annotations/instances_val2017.json": said, "val2017/sub/a.png": (4, 4)})
    convert(data, tmp_path / "out", "coco")
    found = json.loads((tmp_path / "out" / "annotations" / "instances_val.json").read_text())
    first, second = said["annotations"]
    assert found == said | {
        "annotations": [
            first | {"iscrowd": 0},
            second | {"id": 2, "iscrowd": 0, "area": 4, "bbox": [1, 1, 2, 2]},
        ]
    }
    assert (tmp_path / "out" / "images" / "val" / "sub" / "a.png").is_file()


def test_places_in_other_files_are_not_carried_over(lay_out, tmp_path):
    data = lay_out({"classes.txt": "cat", "images/a.png": (4, 4), "masks/a.png": np.eye(4) > 0})
    convert(data, tmp_path / "out", "coco")
    text = (tmp_path / "out" / "annotations" / "instances_all.json").read_text()
    assert "origin" not in text
    assert list_splits(tmp_path / "out") == ("all",)


@pytest.mark.parametrize("target", ["coco", "yolo", "labelme", "png"])
def test_pictures_stay_as_they_are_and_keep_apart(lay_out, tmp_path, target):
    names = ["a.png", "A.jpg", "../x/a.png", "train/a.jpg", "images/b.png", "picture", "b.jpg.bin"]
    data = lay_out({"l/labels.json": document(*names)})
    turned = Image.Exif()
    turned[0x0112] = 3
    for number, name in enumerate(names):
        path = data / "l" / name
        path.parent.mkdir(exist_ok=True)
        kind = "png" if name.endswith("png") else "jpeg"
        Image.new("RGB", (4, 4), (number * 30, 0, 0)).save(path, kind, exif=turned)
    convert(data / "l" / "labels.json", tmp_path / "out", target)
    before = labels(data / "l" / "labels.json", "all")
    assert len(before) == len(names)
    assert labels(tmp_path / "out", "all") == before
    stems = {record.path.with_suffix("") for record in load_split(tmp_path / "out", "all").records}
    assert len(stems) == len(names)


def test_a_kind_of_picture_that_others_do_not_look_for(lay_out, tmp_path):
    data = lay_out({"labels.json": document("a.gif")})
    Image.new("RGB", (4, 4)).save(data / "a.gif")
    with pytest.raises(DataError, match=r"a\.gif is of a kind that readers .* save it as PNG"):
        convert(data / "labels.json", tmp_path / "out", "yolo")
    assert not (tmp_path / "out").exists()
    convert(data / "labels.json", tmp_path / "out", "labelme")
    assert (tmp_path / "out" / "a.gif").is_file()


def test_splits_must_agree_where_the_format_has_one_list(lay_out, tmp_path):
    data = lay_out(
        {
            "annotations/instances_train.json": document(),
            "annotations/instances_val.json": document(names=("dog",)),
            "images/a.png": (4, 4),
        }
    )
    with pytest.raises(DataError, match=r"disagree on the classes, .* list for train and val"):
        convert(data, tmp_path / "out", "yolo")
    assert convert(data, tmp_path / "out", "coco").splits == {"train": (0, 0), "val": (0, 0)}


def test_names_of_classes_that_cannot_be_names_of_folders(lay_out, tmp_path):
    names = ("a/b", "a_b", "A_B", "", "__ignore__", "..", "\ud800x")
    data = lay_out({"labels.json": document("a.png", names=names), "a.png": (4, 4)})
    done = convert(data / "labels.json", tmp_path / "out", "png")
    found = load_split(tmp_path / "out", "all").class_names
    assert found == ("a_b", "a_b (2)", "A_B (3)", "(4)", "__ignore__ (5)", "(6)", "x")
    assert done.renamed["a_b"] == "a_b (2)"


def test_where_it_may_not_go(tiny_data, tmp_path):
    with pytest.raises(
        UsageError, match="cannot be written as 'voc': use coco, yolo, labelme, png"
    ):
        convert(tiny_data, tmp_path / "out", "voc")
    with pytest.raises(UsageError, match="lies inside"):
        convert(tiny_data, tiny_data / "out", "coco")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(UsageError, match="not an empty folder"):
        convert(tiny_data, tmp_path / "full", "coco")
