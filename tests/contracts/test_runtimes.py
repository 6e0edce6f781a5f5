"""One promise, all runtimes: the same predictions as the plain network, and nobody's are lost."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

import yolact
from yolact.artifacts.artifact import write_artifact
from yolact.artifacts.metadata import ArtifactMetadata
from yolact.artifacts.record import ExportRecord
from yolact.config.model import ModelConfig
from yolact.config.presets import preset
from yolact.errors import CheckpointError, UsageError, installed_with
from yolact.export.onnx_file import join_onnx, piece_onnx, write_onnx
from yolact.export.openvino_file import from_onnx, join_openvino, write_openvino
from yolact.export.pieces import (
    Shapes,
    final_piece,
    finish_of,
    finish_piece,
    network_piece,
    preprocess_piece,
)
from yolact.export.torch_file import write_program
from yolact.model.build import build_yolact
from yolact.model.yolact import Yolact
from yolact.runtimes.base import RAW_OUTPUTS, Runtime
from yolact.runtimes.graph_file import SUFFIXES
from yolact.runtimes.torch_runtime import _cpu_has_bf16
from yolact.structures import Predictions

PLUS = {"backbone": "resnet26", "deformable_interval": 1, "mask_rescoring": True}


class Model(NamedTuple):
    """A tiny model, in every form it can be loaded from."""

    network: Yolact
    artifact: Path
    images: torch.Tensor
    expected: Predictions


def make(folder: Path, changes: dict[str, object]) -> Model:
    """Batch norms and offsets are given values: new ones do nothing."""
    config: ModelConfig = replace(
        preset("yolact-nano").model, class_names=("a", "b"), image_size=(64, 96), **changes
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        network = build_yolact(config).eval()
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-0.1, 0.1)
                module.running_var.uniform_(0.5, 2)
                module.weight.data.uniform_(0.5, 2)
                module.bias.data.uniform_(-0.1, 0.1)
            if hasattr(module, "conv_offset_mask"):
                module.conv_offset_mask.weight.data.normal_(0, 0.005)
                module.bias.data.normal_()
        images = torch.randn(3, 3, 64, 96)
    path = folder / "model.safetensors"
    write_artifact(path, network.state_dict(), ArtifactMetadata(config))
    with torch.inference_mode():
        return Model(network, path, images, network(images))


@pytest.fixture(scope="module")
def nano(tmp_path_factory):
    return make(tmp_path_factory.mktemp("nano"), {})


@pytest.fixture(scope="module")
def plus(tmp_path_factory):
    return make(tmp_path_factory.mktemp("plus"), PLUS)


def write_files(model: Model, folder: Path, *, final: bool) -> dict[str, Path]:
    """The network in every format, alone, for a batch of two only, and with finished masks."""
    metadata = yolact.load(model.artifact, device="cpu").metadata
    scorer = model.network.mask_scorer
    record = ExportRecord(metadata, "raw", mask_scorer=scorer and scorer.state_dict())
    pieces = {
        "raw": network_piece(model.network, metadata.model.image_size, None),
        "two": network_piece(model.network, metadata.model.image_size, 2),
    }
    files = {}
    for name, piece in pieces.items():
        files |= {f"{name}{suffix}": folder / f"{name}{suffix}" for suffix in SUFFIXES}
        graph = piece_onnx(piece)
        write_onnx(graph, record, files[f"{name}.onnx"])
        write_openvino(from_onnx(graph), record, files[f"{name}.xml"])
        if not final:
            return files
    write_program(pieces["raw"].program(), record, files["raw.pt2"])
    finish = finish_of(metadata.model, metadata.detection, scorer, full_size=False)
    parts = (
        preprocess_piece(metadata.model, Shapes()),
        pieces["raw"],
        finish_piece(finish, None),
    )
    graphs = [piece_onnx(piece) for piece in parts]
    record = replace(record, masks="final")
    files |= {f"final{suffix}": folder / f"final{suffix}" for suffix in SUFFIXES}
    joined = join_openvino(*map(from_onnx, graphs))
    write_openvino(joined, record, files["final.xml"])
    write_onnx(join_onnx(*graphs), record, files["final.onnx"])
    whole = final_piece(model.network, finish, Shapes())
    write_program(whole.program(), record, files["final.pt2"])
    return files


@pytest.fixture(scope="module")
def nano_files(nano, tmp_path_factory):
    return write_files(nano, tmp_path_factory.mktemp("nano-files"), final=True)


@pytest.fixture(scope="module")
def plus_files(plus, tmp_path_factory):
    return write_files(plus, tmp_path_factory.mktemp("plus-files"), final=False)


FLOAT32, HALF = 1e-4, 0.15
"""Of the largest value; random weights make much of 8 bits."""
BY_NAME = [("torch", "float32"), ("torch", "bf16"), ("onnxruntime", "float32")]
BY_NAME += [("openvino", "float32"), ("reference", "float32")]
BY_FILE = [f"{kind}{suffix}" for kind in ("raw", "two", "final") for suffix in SUFFIXES]
BY_FILE.remove("two.pt2")


def assert_keeps_the_promise(runtime: Runtime, model: Model, tolerance: float) -> None:
    """What every runtime must do."""
    images = model.images
    first = runtime.run(images)
    alone = runtime.run(images[:1])
    runtime.run(-images)  # must not touch what the others gave
    for name in RAW_OUTPUTS:
        expected = getattr(model.expected, name)
        scale = expected.abs().max()
        for found in (getattr(first, name), getattr(alone, name)):
            assert found.dtype == torch.float32
            assert found.device == runtime.device
            assert (found - expected[: len(found)]).abs().max() <= tolerance * scale
        assert getattr(first, name).shape == expected.shape
        assert len(getattr(alone, name)) == 1
    for wrong in (images[:, :, :, :64], images.transpose(2, 3), images[0], images[:0]):
        with pytest.raises(UsageError, match="takes batches of 3x64x96"):
            runtime.run(wrong)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(runtime.run, [images[i % 3 : i % 3 + 1] for i in range(8)]))
    for index, found in enumerate(together):
        expected = first.prototypes[index % 3]
        assert (found.prototypes[0] - expected).abs().max() <= tolerance * expected.abs().max()
    assert str(runtime.device) in runtime.description
    assert runtime.precision in runtime.description


def has_bf16() -> bool:
    with installed_with("openvino"):
        import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.mark.parametrize(("runtime", "precision"), BY_NAME)
def test_by_name(nano, runtime, precision, capfd):
    able = _cpu_has_bf16 if runtime == "torch" else has_bf16
    if precision == "bf16" and not able():
        with pytest.raises(UsageError, match="this processor"):
            yolact.load(nano.artifact, device="cpu", runtime=runtime, precision=precision)
        return
    model = yolact.load(nano.artifact, device="cpu", runtime=runtime, precision=precision)
    assert (model.runtime.name, model.runtime.precision) == (runtime, precision)
    said = capfd.readouterr().err
    converted = f"for {model.runtime.description}" in said
    assert converted == (runtime in ("onnxruntime", "openvino"))
    assert_keeps_the_promise(model.runtime, nano, FLOAT32 if precision == "float32" else HALF)


@pytest.mark.parametrize("name", BY_FILE)
def test_by_file(nano, nano_files, name):
    model = yolact.load(nano_files[name], device="cpu")
    owner = {".onnx": "onnxruntime", ".xml": "openvino", ".pt2": "torch"}[Path(name).suffix]
    assert (model.runtime.name, model.runtime.precision) == (owner, "float32")
    assert model.metadata == yolact.load(nano.artifact, device="cpu").metadata
    assert_keeps_the_promise(model.runtime, nano, FLOAT32)


@pytest.mark.parametrize(
    ("name", "precision"),
    [("raw.onnx", "auto"), ("final.onnx", "float32"), ("raw.xml", "bf16"), ("raw.onnx", "bf16")],
)
def test_openvino_has_a_choice(nano, nano_files, name, precision):
    if precision == "bf16" and not has_bf16():
        with pytest.raises(UsageError, match="on this processor"):
            yolact.load(nano_files[name], runtime="openvino", precision=precision)
        return
    model = yolact.load(nano_files[name], runtime="openvino", precision=precision)
    assert model.runtime.name == "openvino"
    assert_keeps_the_promise(model.runtime, nano, HALF if precision == "bf16" else FLOAT32)


@pytest.mark.parametrize("source", ["artifact", "raw.onnx", "raw.xml"])
def test_yolact_plus_judges_its_masks_everywhere(plus, plus_files, source):
    model = yolact.load(plus_files.get(source, plus.artifact), device="cpu")
    assert_keeps_the_promise(model.runtime, plus, FLOAT32)
    picture = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    options = {"score": 0, "max_detections": 5, "score_threshold": 0.0}
    result = model(picture, **options)
    expected = yolact.load(plus.artifact, device="cpu", runtime="reference")(picture, **options)
    assert expected.mask_scores.max() > 0
    np.testing.assert_allclose(result.mask_scores, expected.mask_scores, rtol=1e-3, atol=1e-5)


def test_the_same_answers_from_picture_to_masks(nano, nano_files):
    pictures = list(np.random.default_rng(0).integers(0, 256, (2, 50, 70, 3), dtype=np.uint8))
    options = {"score": 0, "max_detections": 7, "score_threshold": 0.0, "nms": "cross-class"}
    expected = yolact.load(nano.artifact, device="cpu")(pictures, **options)
    for name in ("final.onnx", "final.xml", "final.pt2"):
        found = yolact.load(nano_files[name], device="cpu")(pictures, **options)
        for one, other in zip(found, expected, strict=True):
            assert len(one) == len(other) == 7
            np.testing.assert_allclose(one.scores, other.scores, rtol=1e-3)
            np.testing.assert_allclose(one.boxes, other.boxes, atol=0.05)
            assert (one.masks.numpy() != other.masks.numpy()).mean() < 1e-3


@pytest.mark.parametrize(
    ("name", "choices", "said"),
    [
        (
            "raw.onnx",
            {"runtime": "torch"},
            "cannot be run by torch: .onnx files are for onnxruntime",
        ),
        ("raw.xml", {"runtime": "onnxruntime"}, ".xml files are for openvino"),
        ("raw.onnx", {"precision": "bf16"}, "onnxruntime runs this network in float32 only"),
        ("raw.onnx", {"runtime": "openvino", "precision": "int8"}, "yolact export --int8 DATA"),
        ("raw.onnx", {"runtime": "tensorrt"}, "TensorRT is not installed: pip install"),
        ("artifact", {"precision": "fp16"}, "no fast fp16 on CPUs"),
        ("artifact", {"precision": "int8"}, "yolact export --int8 DATA"),
        ("artifact", {"runtime": "reference", "precision": "bf16"}, "in float32 only"),
    ],
)
def test_what_cannot_be_honoured(nano, nano_files, name, choices, said):
    with pytest.raises(UsageError, match=said):
        yolact.load(nano_files.get(name, nano.artifact), device="cpu", **choices)


@pytest.mark.parametrize(
    ("library", "suffix", "command"),
    [
        ("onnx", ".onnx", r'onnx is not installed: pip install "yolact\[onnx\]"'),
        ("onnxruntime", ".onnx", r'onnxruntime is not installed: pip install "yolact\[onnx\]"'),
        ("openvino", ".xml", r'openvino is not installed: pip install "yolact\[openvino\]"'),
    ],
)
def test_a_missing_library(nano_files, monkeypatch, library, suffix, command):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UsageError, match=command):
        yolact.load(nano_files[f"raw{suffix}"], device="cpu")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_that_are_no_models_of_ours(nano, tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    with pytest.raises(CheckpointError, match="there is no file"):
        yolact.load(path, device="cpu")
    path.write_bytes(b"rubbish")
    with pytest.raises(CheckpointError, match=rf"not a readable \{suffix} file: \S.*") as caught:
        yolact.load(path, device="cpu")
    assert "\n" not in str(caught.value)
    with pytest.raises(CheckpointError, match="no set of weights"):
        yolact.load("yolact-nano", weights=path)


def test_records_of_others(nano_files, tmp_path):
    import onnx

    model, path = onnx.load(nano_files["raw.onnx"]), tmp_path / "model.onnx"
    (record,) = (entry for entry in model.metadata_props if entry.key == "yolact")
    for text, said in (
        (record.value.replace('"format": 1', '"format": 9'), "has format 9"),
        (record.value[:50], "broken metadata record"),
        ("", "no yolact model record"),
    ):
        record.value = text
        onnx.save(model, path)
        with pytest.raises(CheckpointError, match=said):
            yolact.load(path, device="cpu")


def test_nothing_is_sent_anywhere(nano_files):
    """OpenVINO ships a library that counts its uses."""
    code = f"""
import socket, sys
def refuse(*arguments, **options):
    print("a socket was wanted", file=sys.stderr)
    raise SystemExit(7)
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
import torch, yolact
for path in {[str(nano_files[name]) for name in ("raw.xml", "raw.onnx")]}:
    model = yolact.load(path, device="cpu")
    model.runtime.run(torch.zeros(1, 3, 64, 96))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
