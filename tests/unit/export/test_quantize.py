"""Which convolutions go to int8, how near the network stays, and that nobody is told of it."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from lively import SMALL_PLUS, lively
from yolact.artifacts.record import ExportRecord
from yolact.errors import UsageError
from yolact.export.onnx_file import raw_onnx
from yolact.export.openvino_file import from_onnx
from yolact.export.quantize import ladder, quantize
from yolact.runtimes.base import RAW_OUTPUTS
from yolact.runtimes.choose import open_graph

TOTAL = 50
"""Convolutions that run in yolact-nano, those of the head once for every level."""
FLOAT = 1
"""ONNX's number of float32."""


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((1, 3, 64, 64), dtype=np.float32)


@dataclass(frozen=True)
class Kind:
    """What a test asks of graphs of one kind."""

    graph: Any
    in_int8: Callable[[Any], set[str]]
    """Names of convolutions whose weights are of int8."""
    runtime: str


def onnx_in_int8(graph):
    made = {name: node.op_type for node in graph.graph.node for name in node.output}
    return {
        node.name
        for node in graph.graph.node
        if node.op_type == "Conv" and made.get(node.input[1]) == "DequantizeLinear"
    }


def openvino_in_int8(graph):
    return {
        node.get_friendly_name()
        for node in graph.get_ops()
        if node.get_type_name() == "Convolution"
        and node.input_value(1).get_node().get_type_name() != "Constant"
    }


@pytest.fixture(scope="module")
def model():
    return lively(size=(64, 64))


@pytest.fixture(scope="module")
def kinds(model):
    onnx = raw_onnx(model.runtime.network, (64, 64))
    return {
        "onnx": Kind(onnx, onnx_in_int8, "onnxruntime"),
        "openvino": Kind(from_onnx(onnx), openvino_in_int8, "openvino"),
    }


def outputs(kind, graph, model, *, precision):
    record = ExportRecord(model.metadata, "raw", precision)
    runtime = open_graph(kind.runtime, graph, record, torch.device("cpu"))
    found = runtime.run(torch.from_numpy(picture(100)))
    return {name: getattr(found, name).numpy() for name in RAW_OUTPUTS}


def test_a_ladder_keeps_ever_more(kinds):
    heights = []
    for kind in kinds.values():
        rungs = ladder(kind.graph)
        kept = [rung.convolutions for rung in rungs]
        assert all(lower < upper for lower, upper in pairwise(kept))
        assert len({rung.kept for rung in rungs}) == len(rungs)
        heights.append([len(names) for names in kept])
    assert heights[0] == heights[1]  # whatever the format
    # The first; boxes, classes and coefficients of five levels and the prototypes; two more of the
    # protonet; the head's towers of two at five levels, and what makes P4 to P7.
    assert heights[0] == [0, 1, 1 + 16, 1 + 16 + 2, 1 + 16 + 2 + 10 + 4]


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_only_what_is_kept_stays_in_floats(kinds, model, capfd, name):
    kind = kinds[name]
    before = outputs(kind, copy_of(kind.graph), model, precision="float32")
    rungs = ladder(kind.graph)
    far = []
    for rung in (rungs[0], rungs[-1]):
        int8 = quantize(kind.graph, range(6), picture, rung.convolutions)
        found = outputs(kind, copy_of(int8), model, precision="int8")
        far.append([np.abs(found[n] - before[n]).mean() / before[n].std() for n in RAW_OUTPUTS])
        assert not kind.in_int8(kind.graph)  # it stays as it was
        names = kind.in_int8(int8)
        assert not names & rung.convolutions
        assert len(names) + len(rung.convolutions) == TOTAL
    assert 0 < max(far[1]) < max(far[0]) < 0.2
    assert capfd.readouterr().out == ""


def copy_of(graph):
    return graph.clone() if hasattr(graph, "clone") else graph


def test_deformable_convolutions_stay_as_they_are():
    model = lively("yolact-plus-resnet50", size=(64, 64), **SMALL_PLUS)
    graph = raw_onnx(model.runtime.network, (64, 64))
    int8 = quantize(graph, range(2), picture)
    assert len(onnx_in_int8(int8)) > 50
    deformable = [node for node in graph.graph.node if node.op_type == "DeformConv"]
    weights = {node.input[1] for node in deformable}
    kept = {each.name for each in int8.graph.initializer if each.data_type == FLOAT}
    assert len(weights) > 3
    assert weights <= kept


def test_a_missing_library_names_its_install_command(kinds, monkeypatch):
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(UsageError, match=r'nncf is not installed: pip install "yolact\[int8\]"'):
        ladder(kinds["onnx"].graph)


SPY = """
import sys
from pathlib import Path

met = []


def hook(event, arguments):
    if event.startswith("socket.") or event.startswith("urllib."):
        met.append((event, str(arguments)))
        raise OSError("there is no network here")


sys.addaudithook(hook)

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from yolact.export.openvino_file import from_onnx
from yolact.export.quantize import ladder, quantize

value = helper.make_tensor_value_info
weights = np.ones((2, 3, 3, 3), np.float32)
graph = helper.make_graph(
    [helper.make_node("Conv", ["images", "w"], ["found"], name="only")],
    "one",
    [value("images", TensorProto.FLOAT, ["batch", 3, 8, 8])],
    [value("found", TensorProto.FLOAT, ["batch", 2, 6, 6])],
    [numpy_helper.from_array(weights, "w")],
)
onnx = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
for model in (onnx, from_onnx(onnx)):
    kept = ladder(model)[0].convolutions
    quantize(model, range(2), lambda seed: np.full((1, 3, 8, 8), seed + 1, np.float32), kept)
    assert len(ladder(model)) == 5

from nncf.telemetry.wrapper import NNCFTelemetry, telemetry

assert not isinstance(telemetry, NNCFTelemetry), "NNCF would send"
assert not met, met
assert "openvino_telemetry" not in sys.modules or sys.modules["openvino_telemetry"] is not None
print("quiet")
"""


def test_nothing_is_sent_nor_tried(tmp_path):
    """Whatever the surroundings say: NNCF sends nothing in tests and on build machines by itself."""
    hints = ("CI", "NNCF", "PYTEST", "GITHUB", "TF_BUILD", "JENKINS", "TRAVIS", "BUILD")
    env = {k: v for k, v in os.environ.items() if not k.startswith(hints)} | {"HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", SPY], env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "quiet\n"), done.stderr
    assert not (tmp_path / "intel").exists()  # where an identity of the user would lie
