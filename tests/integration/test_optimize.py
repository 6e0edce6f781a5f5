"""The same model in other runtimes: in Python, and by every command."""

import json
import sys

import numpy as np
import pytest
import torch

import yolact
from yolact.artifacts.record import ExportRecord
from yolact.errors import UsageError
from yolact.export.onnx_file import raw_onnx, write_onnx
from yolact.export.openvino_file import from_onnx, write_openvino
from yolact.inference.load import untrained
from yolact.inference.predictor import Predictor
from yolact.model.build import build_yolact
from yolact.runtimes.torch_runtime import TorchRuntime


@pytest.fixture(scope="module")
def model(tiny_run):
    return yolact.load(tiny_run, device="cpu")


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    graph = raw_onnx(model.runtime.network, model.metadata.model.image_size)
    record = ExportRecord(model.metadata, "raw")
    write_onnx(graph, record, folder / "model.onnx")
    write_openvino(from_onnx(graph), record, folder / "model.xml")
    return folder


def assert_same(one, other):
    np.testing.assert_allclose(one.scores, other.scores, rtol=1e-3)
    np.testing.assert_allclose(one.boxes, other.boxes, atol=0.05)
    assert (one.masks.numpy() != other.masks.numpy()).mean() < 1e-4


def test_the_fastest_is_taken_and_said(model, tiny_data, capsys):
    fast = model.optimize()
    said = capsys.readouterr().err
    assert said.count("ms a picture, the network alone: ") == 3
    for name in ("torch", "ONNX Runtime", "OpenVINO"):
        assert f"alone: {name} " in said
    assert f"taken: {fast.runtime.description}" in said
    picture = tiny_data / "images" / "val_00000.jpg"
    assert_same(fast(picture, score=0), model(picture, score=0))
    with pytest.raises(UsageError, match="load it with runtime=reference"):
        model.optimize(runtime="reference")


def test_without_the_others_torch_is_taken(model, monkeypatch, capsys):
    for library in ("onnx", "openvino"):
        monkeypatch.setitem(sys.modules, library, None)
    fast = model.optimize()
    said = capsys.readouterr().err
    assert fast.runtime.name == "torch"
    assert "batch norm folded" in fast.runtime.description
    assert 'not tried: onnx is not installed: pip install "yolact[onnx]"' in said


def test_a_network_of_ones_own_is_left_alone():
    made = untrained("yolact-nano", device="cpu").metadata
    network = build_yolact(made.model)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fast = Predictor(TorchRuntime(network, torch.device("cpu")), made).optimize(runtime="torch")
    assert fast.runtime.network is not network
    assert network.state_dict().keys() == before.keys()
    assert all(torch.equal(before[name], each) for name, each in network.state_dict().items())


def test_what_is_not_torch_is_not_optimized(files):
    with pytest.raises(UsageError, match="only a float32 network in torch can be optimized"):
        yolact.load(files / "model.onnx", device="cpu").optimize()


def test_commands_on_files(tiny_run, tiny_data, files, quick_command, tmp_path):
    """Every verb means the same for a checkpoint, an ONNX file and an OpenVINO model."""
    picture = tiny_data / "images" / "val_00001.jpg"
    answers = {}
    for name in (tiny_run, files / "model.onnx", files / "model.xml"):
        use = ("--device", "cpu", "--json")
        evaluated = quick_command("eval", name, tiny_data, *use, cwd=tmp_path)
        explained = quick_command("explain", name, picture, "--score", "0", *use, cwd=tmp_path)
        predicted = quick_command("predict", name, picture, "--score", "0", *use, cwd=tmp_path)
        told = quick_command("models", "info", name, "--json", cwd=tmp_path)
        done = (evaluated, explained, predicted, told)
        assert [each.returncode for each in done] == [0] * 4, [each.stderr for each in done]
        answers[name] = [json.loads(each.stdout) for each in done]
    expected, *others = answers.values()
    for found in others:
        for kind in ("mask", "box"):
            assert found[0][kind]["ap"] == pytest.approx(expected[0][kind]["ap"], abs=1e-3)
        assert len(found[1]["objects"]) == len(expected[1]["objects"])
        for key in ("backbone", "input_size", "anchors", "parameters", "classes", "provenance"):
            assert found[3][key] == expected[3][key]


def test_commands_take_runtime_and_precision(tiny_run, tiny_data, quick_command, tmp_path):
    picture = tiny_data / "images" / "val_00001.jpg"
    done = quick_command("predict", tiny_run, picture, "--runtime", "openvino", cwd=tmp_path)
    assert (done.returncode, "for OpenVINO" in done.stderr) == (0, True)
    done = quick_command(
        *("explain", tiny_run, picture, "--runtime", "onnxruntime", "--precision", "bf16"),
        cwd=tmp_path,
    )
    assert (done.returncode, "in float32 only" in done.stderr) == (2, True)


def test_an_exported_file_is_nothing_to_train_from(tiny_data, files, quick_command, tmp_path):
    done = quick_command("train", tiny_data, "--weights", files / "model.onnx", cwd=tmp_path)
    assert done.returncode == 3
    assert "is an exported network, no set of weights" in done.stderr
