"""``yolact data check``, ``stats`` and ``split`` as users type them."""

import json
import shutil
import subprocess

import pytest
from PIL import Image

from yolact.cli.main import main


@pytest.fixture
def command(capsys):
    """Run a command in this process, which spares the start."""

    def run(*words):
        capsys.readouterr()
        code = main([*map(str, words)])
        return subprocess.CompletedProcess(words, code, *capsys.readouterr())

    return run


@pytest.fixture
def broken(tiny_data, tmp_path):
    """The tiny data set with a picture missing, a wrong box, and a leak into train."""
    data = tmp_path / "broken"
    shutil.copytree(tiny_data, data)
    path = data / "annotations" / "instances_train.json"
    document = json.loads(path.read_text())
    (data / "images" / document["images"][3]["file_name"]).unlink()
    document["annotations"][0]["bbox"] = [0, 0, 3, 3]
    leak = data / "images" / document["images"][5]["file_name"]
    shutil.copy(data / "images" / "val_00002.jpg", leak)
    path.write_text(json.dumps(document))
    return data


def test_a_sound_data_set_passes(command, tiny_data):
    done = command("data", "check", tiny_data, "--size", 96)
    assert done.returncode == 0, done.stdout
    assert "0 errors" in done.stdout.splitlines()[-1]
    assert "anchors of yolact-nano at 96x96" in done.stdout
    strict = command("data", "check", tiny_data, "--size", 96, "--strict", "--json")
    document = json.loads(strict.stdout)
    assert document["errors"] == 0
    assert strict.returncode == (1 if document["warnings"] else 0)


def test_a_broken_one_is_named_shown_and_mended(command, broken, tmp_path):
    before = sorted((p, p.stat().st_mtime_ns) for p in broken.rglob("*"))
    done = command("data", "check", broken, "--contact-sheet", tmp_path / "sheets")
    assert done.returncode == 1
    for code in ("missing-picture", "wrong-box", "picture-in-two-splits"):
        assert f"({code})" in done.stdout
    with Image.open(tmp_path / "sheets" / "wrong-box.jpg") as sheet:
        assert sheet.width > 200
    assert str(tmp_path / "sheets" / "picture-in-two-splits.jpg") in done.stderr

    fixed = command("data", "check", broken, "--fix", tmp_path / "mended", "--json")
    assert fixed.returncode == 0, fixed.stdout
    document = json.loads(fixed.stdout)
    assert document["errors"] == 0
    assert len([c for c in document["changes"] if "was dropped" in c["text"]]) == 2
    assert document["splits"]["train"]["pictures"] == 22
    assert sorted((p, p.stat().st_mtime_ns) for p in broken.rglob("*")) == before
    shown = command("data", "check", broken, "--fix", tmp_path / "again")
    assert "annotations[0] (id 1) got its box from its mask." in shown.stdout
    assert command("data", "check", tmp_path / "mended").returncode == 0


def test_stats(command, tiny_data):
    done = command("data", "stats", tiny_data, "--json")
    train = json.loads(done.stdout)["train"]
    labels = json.loads((tiny_data / "annotations" / "instances_train.json").read_text())
    crowds = sum(a["iscrowd"] for a in labels["annotations"])
    assert (train["pictures"], train["crowds"]) == (24, crowds)
    assert train["objects"] == len(labels["annotations"]) - crowds
    assert train["sizes"] == {"128x96": 24}
    assert sum(one["objects"] for one in train["classes"].values()) == train["objects"]
    assert train["with_holes"] > 0
    ring = train["classes"]["ring"]
    assert ring["small"] + ring["medium"] + ring["large"] == pytest.approx(1)
    text = command("data", "stats", tiny_data).stdout
    assert "train: 24 pictures, 128x96 (24)" in text
    assert "val: 12 pictures" in text


def test_split(command, tiny_data, tmp_path):
    words = ("data", "split", tiny_data, tmp_path / "out", "--val", 0.25, "--test", 0.25, "--json")
    done = command(*words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["pictures"] == {"train": 18, "val": 9, "test": 9}
    again = command("data", "split", tiny_data, tmp_path / "again", "--val", 0.25, "--test", 0.25)
    assert "18 (50%)" in again.stdout
    for split in ("train", "val", "test"):
        name = f"annotations/instances_{split}.json"
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert command("data", "check", tmp_path / "out").returncode == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("check", "nowhere"), 3, "nowhere"),
        (("check", "{data}", "--model", "yolact-huge"), 2, "no model is called 'yolact-huge'"),
        (("check", "{data}", "--fix", "{data}"), 2, "not an empty folder"),
        (("check", "{data}", "--contact-sheet", "{data}"), 2, "not an empty folder"),
        (("stats", "nowhere"), 3, "nowhere"),
        (("split", "{data}", "{data}"), 2, "not an empty folder"),
        (("split", "{data}", "out", "--val", "1.5"), 2, "--val must be above 0"),
        (("split", "{data}", "out", "--seed", "-1"), 2, "--seed must not be negative"),
        (("split", "{data}", "out", "--group", "camera"), 2, "neither a field of the images"),
    ],
)
def test_mistakes_get_one_sentence(command, tiny_data, tmp_path, monkeypatch, words, code, said):
    monkeypatch.chdir(tmp_path)
    done = command("data", *(w.format(data=tiny_data) for w in words))
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_labels_that_are_no_json_are_unreadable(command, tiny_data, tmp_path):
    shutil.copytree(tiny_data, tmp_path / "data")
    (tmp_path / "data" / "annotations" / "instances_val.json").write_text("{")
    done = command("data", "check", tmp_path / "data")
    assert done.returncode == 3
    assert "is not readable JSON" in done.stderr


@pytest.mark.parametrize("name", ["breadboard", "coco_cc", "microcontrollers"])
def test_real_data_sets_have_no_errors(command, real_data, name):
    done = command("data", "check", real_data / name, "--quick", "--json")
    assert done.returncode == 0, done.stdout
