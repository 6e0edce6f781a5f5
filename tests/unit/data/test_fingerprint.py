import json
import shutil

import pytest

from yolact.data.fingerprint import fingerprint
from yolact.data.formats.read import load_split


@pytest.fixture
def data(tiny_data, tmp_path):
    return shutil.copytree(tiny_data, tmp_path / "elsewhere")


def labels(folder):
    return folder / "annotations" / "instances_val.json"


def test_place_and_layout_do_not_matter(tiny_data, data):
    document = json.loads(labels(data).read_text())
    labels(data).write_text(json.dumps(document, indent=3, sort_keys=True))
    assert fingerprint(load_split(data, "val")) == fingerprint(load_split(tiny_data, "val"))


def test_a_changed_label_does(tiny_data, data):
    document = json.loads(labels(data).read_text())
    ids = [category["id"] for category in document["categories"]]
    first = document["annotations"][0]
    first["category_id"] = next(i for i in ids if i != first["category_id"])
    labels(data).write_text(json.dumps(document))
    assert fingerprint(load_split(data, "val")) != fingerprint(load_split(tiny_data, "val"))


def test_a_changed_picture_does(tiny_data, data):
    picture = load_split(data, "val").records[0].path
    picture.write_bytes(picture.read_bytes() + b"\0")
    assert fingerprint(load_split(data, "val")) != fingerprint(load_split(tiny_data, "val"))
