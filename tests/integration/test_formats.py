"""Data in other formats, from the command line: converted, trained on, measured."""

import json

import pytest

from yolact.data.formats.convert import convert
from yolact.data.formats.read import load_split


@pytest.fixture(scope="module")
def converted(tiny_data, tmp_path_factory):
    """The same data set in each format."""
    folder = tmp_path_factory.mktemp("formats")
    for target in ("yolo", "labelme", "png"):
        convert(tiny_data, folder / target, target)
    return folder


def test_the_command_says_what_came_of_it(command, tiny_data, tmp_path):
    done = command("data", "convert", tiny_data, tmp_path / "x", "--to", "yolo")
    assert done.returncode == 0, done.stderr
    first, second, third, last = done.stdout.splitlines()
    assert first.startswith("train: 24 pictures, ")
    assert second.startswith("val: 12 pictures, ")
    assert third == "not expressed: 2 crowd regions, which the format cannot mark"
    assert last == f"COCO -> yolo: {tmp_path / 'x'}"


def test_so_does_the_document(command, converted, tmp_path):
    done = command("data", "convert", converted / "yolo", tmp_path / "x", "--to", "png", "--json")
    document = json.loads(done.stdout)
    assert (document["from"], document["to"], document["renamed"]) == ("YOLO", "png", {})
    assert document["splits"].keys() == {"train", "val"}
    assert document["splits"]["val"]["images"] == 12
    assert document["not_expressed"] == {}


@pytest.mark.parametrize("target", ["yolo", "labelme"])
def test_training_and_measuring(command, converted, tmp_path, target):
    done = command(
        "train", converted / target, "--size", 96, "--steps", 2, "--batch-size", 4, "--workers", 0,
        "--validations", 1, "--out", tmp_path / "run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "best.safetensors").is_file()


@pytest.mark.parametrize("target", ["labelme", "png"])
def test_predictions_find_their_pictures(command, converted, tmp_path, target):
    """The truth itself as somebody's results: AP 1, by the ids that the reader gives."""
    truth = load_split(converted / target, "val").ground_truth
    results = [a | {"score": 1.0} for a in truth["annotations"] if not a["iscrowd"]]
    (tmp_path / "results.json").write_text(json.dumps(results))
    done = command("eval", "--predictions", tmp_path / "results.json", converted / target, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["mask"]["ap"] == 1


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("{data}", "{out}"), 2, "required: --to"),
        (("{out}", "{out}2", "--to", "yolo"), 3, "there is no data folder"),
    ],
)
def test_mistakes_get_one_sentence(command, tiny_data, tmp_path, words, code, said):
    words = [word.format(data=tiny_data, out=tmp_path / "out") for word in words]
    done = command("data", "convert", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
