"""Models as files: written, checked against the model, and used by others."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lively import SMALL_PLUS, blurry, lively
from yolact.artifacts.artifact import write_artifact
from yolact.artifacts.record import ExportRecord, onnx_properties
from yolact.config.detection import DetectionConfig
from yolact.errors import ExportError, UsageError
from yolact.export import graph
from yolact.export.final_file import final_results, open_final
from yolact.export.graph import final_outputs
from yolact.export.parity import compare
from yolact.inference.export import export
from yolact.inference.load import load

EXAMPLE = Path(__file__).parents[2] / "examples" / "onnx_masks.py"
PICTURES = [blurry(1), blurry(2), blurry(3, (61, 40)), blurry(4, (33, 130))]
OUTPUTS = final_outputs(has_scorer=False, full_size=False)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A letterboxed model, and what was found when it was exported as each format."""
    model, folder = lively(letterbox=True), tmp_path_factory.mktemp("final")
    suffixes = (".onnx", ".xml", ".pt2")
    return model, {s: model.export(folder / f"nut{s}", pictures=PICTURES) for s in suffixes}


@pytest.mark.parametrize("suffix", [".onnx", ".xml", ".pt2"])
def test_finished_masks_in_every_format(files, suffix):
    model, parities = files
    parity = parities[suffix]
    assert parity.agrees
    assert parity.total.matched == parity.total.expected > 30
    assert parity.total.mean_iou > 0.999
    assert {each.image_size for each in parity.pictures} == {(70, 110), (61, 40), (33, 130)}
    run = open_final(parity.path, OUTPUTS)
    alike = [blurry(seed, (50, 80)) for seed in range(5, 8)]  # a batch, of another size
    for score in (0.2, 0.7, 1.0):
        found = final_results(run, alike, score, model.names)
        expected = [each.filter(score) for each in model.detect(alike, model.metadata.detection)]
        for one, other in zip(expected, found, strict=True):
            assert compare("", one, other, model.metadata.detection, score).agrees
            assert len(one) == len(other)
    assert len(found) == 3
    assert not any(map(len, found))


def test_one_onnx_file_of_named_pieces(files):
    import onnx

    model, parities = files
    path = parities[".onnx"].path
    assert [each.name for each in path.parent.glob("nut.onnx*")] == ["nut.onnx"]
    file = onnx.load(path)
    onnx.checker.check_model(file, full_check=True)
    record = ExportRecord.from_properties(onnx_properties(file), "x")
    assert record.metadata == model.metadata
    assert (record.masks, record.precision, record.mask_scorer) == ("final", "float32", None)
    tensors = {name for node in file.graph.node for name in node.output}
    assert {"images", "box_offsets", "class_logits", "coefficients", "prototypes"} <= tensors
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*file.graph.input, *file.graph.output)
    }
    assert shapes["pictures"] == ["batch", "height", "width", 3]
    assert shapes["masks"] == ["detections", "mask_height", "mask_width"]
    assert file.opset_import[0].version == 19


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_the_network_can_be_taken_out_again(files, suffix):
    model, parities = files
    again = load(parities[suffix], device="cpu")
    expected = model(blurry(9), nms="greedy", max_detections=4)
    found = again(blurry(9), nms="greedy", max_detections=4)
    assert len(found) == 4
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-3)
    np.testing.assert_array_equal(found.labels, expected.labels)


def test_the_example_needs_neither_torch_nor_yolact(files, tmp_path):
    model, parities = files
    Image.fromarray(blurry(1)).save(tmp_path / "in.png")
    alone = "import sys, runpy; sys.modules |= dict.fromkeys(('torch', 'yolact'))"
    arguments = [str(EXAMPLE), str(parities[".onnx"].path), "in.png", "out.png"]
    run = f"{alone}; sys.argv = {arguments}; runpy.run_path(sys.argv[0], run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", run],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = model(blurry(1))
    assert len(done.stdout.splitlines()) == len(expected)
    assert done.stdout.startswith(f"{expected.names[expected.labels[0]]} {expected.scores[0]:.2f} ")
    drawn = np.array(Image.open(tmp_path / "out.png"))
    assert drawn.shape == (70, 110, 3)
    assert (drawn != blurry(1)).any()
    assert len([line for line in EXAMPLE.read_text().splitlines() if line]) <= 45


def test_fixed_sizes_whole_masks_and_other_choices(tmp_path):
    parity = export(
        lively(),
        tmp_path / "fixed.xml",
        picture_size=(48, 64),
        batch=2,
        full_size=True,
        pictures=PICTURES[:3],
        nms="cross-class",
        classes=["bolt", "washer"],
    )
    assert parity.total.matched > 5
    assert {each.image_size for each in parity.pictures} == {(48, 64)}
    run = open_final(parity.path, final_outputs(has_scorer=False, full_size=True))
    found = run(np.zeros((2, 48, 64, 3), np.uint8), np.array(0.0, np.float32))
    assert found["masks"].shape[1:] == (48, 64)
    assert 0 not in found["labels"]
    with pytest.raises(Exception, match=r"(?i)shape|dim|size|expected"):
        run(np.zeros((2, 48, 65, 3), np.uint8), np.array(0.0, np.float32))


def test_deformable_convolutions_and_judged_masks(tmp_path):
    model = lively("yolact-plus-resnet50", size=(96, 96), **SMALL_PLUS)
    raw = export(model, tmp_path / "raw.onnx", masks="raw", pictures=PICTURES[:2])
    assert raw.raw_difference < 1e-4
    parity = export(model, tmp_path / "plus.xml", pictures=PICTURES[:2])
    assert parity.total.matched > 10
    outputs = final_outputs(has_scorer=True, full_size=False)
    found = open_final(parity.path, outputs)(PICTURES[0][None], np.array(0.2, np.float32))
    expected = model(PICTURES[0], score=0.2)
    np.testing.assert_allclose(found["mask_scores"], expected.mask_scores, atol=1e-4)
    assert expected.mask_scores.any()
    for file in (raw, parity):
        again = load(file, device="cpu")(PICTURES[0], score=0.2)
        np.testing.assert_allclose(again.mask_scores, expected.mask_scores, atol=1e-4)


@pytest.mark.parametrize("suffix", [".onnx", ".xml", ".pt2"])
def test_raw_files(suffix, tmp_path):
    model = lively()
    parity = export(model, tmp_path / f"raw{suffix}", masks="raw", pictures=PICTURES)
    assert parity.raw_difference < 1e-4
    assert parity.total.matched > 30
    found = load(parity, device="cpu")(PICTURES[2])
    assert compare("", model(PICTURES[2]), found, model.metadata.detection, 0.2).agrees


def test_a_file_that_answers_otherwise_is_not_put_in_place(tmp_path, monkeypatch):
    right = graph.assemble_masks
    monkeypatch.setattr(graph, "assemble_masks", lambda *each: right(*each).sqrt())
    with pytest.raises(ExportError, match=r"in \d of 4 pictures: .* partner: 0;") as caught:
        export(lively(), tmp_path / "wrong.pt2", pictures=PICTURES)
    assert caught.value.parity.total.wrong_masks > 5
    assert caught.value.parity.total.least_iou < 0.95
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_no_and_shows_why(tmp_path, monkeypatch, quick_command):
    model = lively()
    write_artifact(tmp_path / "nut.safetensors", model.runtime.network.state_dict(), model.metadata)
    (tmp_path / "shown").mkdir()
    for index, picture in enumerate(PICTURES[:2]):
        Image.fromarray(picture).save(tmp_path / "shown" / f"{index}.png")
    words = (
        "export",
        "nut.safetensors",
        "--to",
        "torch-export",
        "--masks",
        "raw",
        "--check",
        "shown",
    )
    done = quick_command(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1.0000" in done.stdout
    assert (tmp_path / "nut.pt2").is_file()
    before = (tmp_path / "nut.pt2").read_bytes()
    again = quick_command(*words, cwd=tmp_path)
    assert again.returncode == 2
    assert "nut.pt2 exists" in again.stderr

    right = graph.RawGraph.forward

    def wrong(self, images):
        *others, prototypes = right(self, images)
        return *others, -prototypes

    monkeypatch.setattr(graph.RawGraph, "forward", wrong)
    no = quick_command(*words, "--overwrite", "--json", cwd=tmp_path)
    assert no.returncode == 1
    assert "does not answer like the model" in no.stderr.splitlines()[-1]
    assert no.stderr.count("Traceback") == 0
    document = json.loads(no.stdout)
    assert document["agrees"] is False
    assert len(document["pictures"]) == 2
    assert (tmp_path / "nut.pt2").read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "nut.pt2",
        "nut.safetensors",
        "shown",
    ]


def test_ap_of_both(tiny_run, tiny_data, tmp_path, quick_command):
    done = quick_command(
        *("export", tiny_run, "--out", "tiny.pt2", "--data", tiny_data, "--masks", "raw"),
        *("--candidate-score", 0.01, "--json"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert len(document["pictures"]) == 12
    for kind in ("mask", "box"):
        ours, theirs = (document["metrics"][name][kind]["ap"] for name in ("model", "file"))
        assert theirs == pytest.approx(ours, abs=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path": "x.onnx", "to": "openvino"}, "must end in .xml, not in .onnx"),
        ({"path": "x.tflite"}, "must end in .onnx or .xml or .pt2"),
        ({"masks": "raw", "full_size": True}, "a raw file has no masks"),
        ({"masks": "raw", "picture_size": (64, 64)}, "a raw file has no masks"),
        ({"batch": 0}, "at least 1 picture"),
        ({"nms": "greedy"}, "no graph can hold greedy NMS"),
        ({"classes": ["nail"]}, "knows no class 'nail'"),
    ],
)
def test_what_cannot_be_is_one_sentence(settings, message, tmp_path):
    path = tmp_path / settings.pop("path", "x.onnx")
    with pytest.raises(UsageError, match=message):
        export(lively(), path, **settings)
    assert list(tmp_path.iterdir()) == []


def test_only_what_torch_runs_in_float32_is_exported(files, tmp_path):
    again = load(files[1][".onnx"], device="cpu")
    with pytest.raises(UsageError, match="load what it was made from"):
        again.export(tmp_path / "x.onnx")


def test_made_pictures_are_better_than_none(tmp_path):
    model = lively(detection=DetectionConfig(max_detections=3))
    parity = export(model, tmp_path / "x.pt2", masks="raw")
    assert len({each.image_size for each in parity.pictures}) == 3
    assert parity.total.matched > 5


def test_onnx_runtime_does_not_report_to_its_makers(tmp_path):
    use = "from yolact.runtimes.onnx_runtime import import_onnxruntime as use; use()"
    done = subprocess.run(
        [sys.executable, "-c", use],
        env={k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
        | {"TMPDIR": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 0
    assert list(tmp_path.iterdir()) == []  # its reporter keeps a file there
