"""From a model and its data to an int8 file whose AP is known, or to none."""

import json

import pytest

from lively import lively
from yolact.artifacts.artifact import write_artifact
from yolact.artifacts.record import ExportRecord
from yolact.data.formats.read import load_split
from yolact.data.generate import generate_dataset
from yolact.errors import DataError
from yolact.inference import quantization
from yolact.inference.evaluate import evaluate_model
from yolact.inference.export import export
from yolact.inference.load import load
from yolact.inference.quantization import choose_pictures, quantize_model


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Pictures of the classes of the generated data that a network with random weights may know."""
    folder = tmp_path_factory.mktemp("int8") / "data"
    generate_dataset(folder, num_train=5, num_val=4, image_size=(64, 96), seed=4)
    return folder


@pytest.fixture(scope="module")
def model(data, tmp_path_factory):
    """The artifact of a network with random weights that finds something."""
    made = lively(class_names=load_split(data, "val").class_names[:3])
    path = tmp_path_factory.mktemp("model") / "lively.safetensors"
    write_artifact(path, made.runtime.network.state_dict(), made.metadata)
    return path


def test_calibration_and_measurement_share_no_picture(data, tmp_path):
    chosen = choose_pictures(data, number=3)
    assert len(chosen.calibration) == len(set(chosen.calibration)) == 3
    assert {path.name[:5] for path in chosen.calibration} == {"train"}
    assert len(chosen.measured.records) == 4
    assert not chosen.from_one_split
    assert choose_pictures(data, number=3).calibration == chosen.calibration
    assert choose_pictures(data, number=3, seed=1).calibration != chosen.calibration
    assert len(choose_pictures(data).calibration) == 5

    for split, count in (("val", 4), ("train", 5)):
        where = data / "annotations" / f"instances_{split}.json" if split == "val" else data
        one = choose_pictures(where, split)
        assert one.from_one_split
        measured = {record.path.name for record in one.measured.records}
        used = {path.name for path in one.calibration}
        assert (len(used), len(measured)) == (count // 2, count - count // 2)
        assert not used & measured
        truth = one.measured.ground_truth
        kept = {image["id"] for image in truth["images"]}
        assert len(kept) == len(measured)
        assert {each["image_id"] for each in truth["annotations"]} <= kept

    generate_dataset(tmp_path / "single", num_train=1, num_val=1, image_size=(64, 64))
    with pytest.raises(DataError, match="has one picture: int8 needs another"):
        choose_pictures(tmp_path / "single", "train")


def test_the_command_makes_an_int8_file_and_says_what_it_cost(model, data, quick_command, tmp_path):
    done = quick_command(
        *("export", model, "--int8", data, "--max-drop", 100, "--out", "fast.xml", "--json"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)["int8"]
    (trial,) = report["trials"]
    assert trial["kept"] == "nothing"
    lost = max(report["before"][shape] - trial["ap"][shape] for shape in ("mask", "box"))
    assert trial["drop"] == pytest.approx(100 * lost)
    assert (report["num_calibration"], report["num_measured"]) == (5, 4)
    assert [one["runtime"].split()[0] for one in report["speeds"]] == ["torch", *["OpenVINO"] * 2]
    assert "int8" in report["speeds"][-1]["runtime"]
    assert all(0 < one["network_seconds"] < one["seconds"] for one in report["speeds"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fast.bin", "fast.xml"]

    fast = load(tmp_path / "fast.xml")
    assert fast.runtime.precision == "int8"
    assert fast.metadata.provenance["int8"] == report
    done = quick_command("eval", "fast.xml", data, "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["mask"]["ap"] == pytest.approx(trial["ap"]["mask"], abs=0.05)


def test_a_raw_onnx_file_in_int8(model, data, tmp_path):
    original = load(model)
    parity = export(
        original,
        tmp_path / "raw.onnx",
        masks="raw",
        int8=choose_pictures(data),
        max_drop=100,
    )
    fast = load(parity)
    assert (fast.runtime.name, fast.runtime.precision) == ("onnxruntime", "int8")
    ap = parity.int8.trials[-1].ap
    truth = choose_pictures(data).measured
    metrics = evaluate_model(fast, fast.detection(), truth, batch_size=2).compute()
    assert (metrics.mask.ap, metrics.box.ap) == (ap.mask, ap.box)


def test_what_costs_too_much_is_not_written(model, data, quick_command, tmp_path, monkeypatch):
    monkeypatch.setattr(quantization, "quantize", lambda graph, *_: graph)  # it takes long
    done = quick_command(
        *("export", model, "--to", "onnx", "--masks", "raw"),
        *("--int8", data, "--max-drop", -100),
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert "points of AP at the least" in last
    assert "may cost -100: nothing is written." in last
    assert done.stderr.count("quantising on 5 pictures") == 5  # to the top of the ladder
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--to", "onnx", "--max-drop", "1"), "it needs --int8 DATA"),
        (("--to", "torch-export", "--int8", "data"), "int8 is for onnx and openvino files"),
        (("--to", "onnx", "--int8", "data", "--max-drop", "nan"), "a number of points, not nan"),
        (("--to", "onnx", "--int8", "data", "--fixed", "96x64"), "pictures as they are"),
        (("--to", "onnx", "--int8", "data", "--masks", "raw", "--batch", "2"), "takes any batch"),
    ],
)
def test_what_int8_cannot_do(model, data, quick_command, tmp_path, words, message):
    (tmp_path / "data").symlink_to(data)
    done = quick_command("export", model, *words, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_data_without_anything_known_has_no_ap(tmp_path):
    stranger = lively()
    generate_dataset(tmp_path / "data", num_train=2, num_val=2, image_size=(64, 96))
    labels = tmp_path / "data" / "annotations" / "instances_val.json"
    document = json.loads(labels.read_text()) | {"annotations": []}
    names = zip(document["categories"], stranger.names, strict=False)
    document["categories"] = [each | {"name": name} for each, name in names]
    labels.write_text(json.dumps(document))
    with pytest.raises(DataError, match="so there is no AP"):
        quantize_model(
            stranger,
            None,  # is not looked at before there is an AP to keep
            ExportRecord(stranger.metadata, "raw"),
            choose_pictures(tmp_path / "data"),
            lambda _: pytest.fail("nothing to measure"),
            max_drop=1,
            say=lambda _: None,
        )
