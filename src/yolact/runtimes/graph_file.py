"""The network in an exported file, whatever its format, and what the file says about itself.

Of a finished graph, which takes pictures and gives masks, the network is cut out where it begins and
ends: what comes before and after is everyone's, with all its options.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import fx

from yolact.artifacts.record import (
    PROPERTIES,
    ExportRecord,
    onnx_properties,
    openvino_properties,
)
from yolact.errors import CheckpointError, YolactError, installed_with
from yolact.runtimes.base import RAW_INPUT, RAW_OUTPUTS
from yolact.runtimes.openvino_runtime import read_openvino

ONNX, OPENVINO, PROGRAM = SUFFIXES = (".onnx", ".xml", ".pt2")


def read_graph_record(path: Path) -> ExportRecord:
    """What an exported file says about itself.

    Raises:
        CheckpointError: If the file is missing, broken, or not of this package.
        UsageError: If the library that reads it is not installed.
    """
    return _read(path)[1]


def read_graph(path: Path) -> tuple[Any, ExportRecord]:
    """The network alone and the record of the file.

    Returns:
        An ``onnx.ModelProto``, an ``openvino.Model`` or the module of a torch program, and the record.

    Raises:
        CheckpointError: If the file is missing, broken, or not of this package.
        UsageError: If the library that reads it is not installed.
    """
    model, record = _read(path)
    with _readable(path):
        if path.suffix == PROGRAM:
            model = model.module()
        if record.masks == "final":
            cut = {ONNX: _cut_onnx, OPENVINO: _cut_openvino, PROGRAM: _cut_program}[path.suffix]
            model = cut(model)
    return model, record


def _read(path: Path) -> tuple[Any, ExportRecord]:
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}.")
    with _readable(path):
        model, properties = {ONNX: _read_onnx, OPENVINO: _read_xml, PROGRAM: _read_program}[
            path.suffix
        ](path)
    return model, ExportRecord.from_properties(properties, str(path))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except YolactError:
        raise
    except Exception as error:  # each library has its own
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise CheckpointError(
            f"{path} is not a readable {path.suffix} file: {reason[-1]}"
        ) from error


def _read_onnx(path: Path) -> tuple[Any, dict[str, str]]:
    with installed_with("onnx"):
        import onnx

    model = onnx.load(path)
    return model, onnx_properties(model)


def _read_xml(path: Path) -> tuple[Any, dict[str, str]]:
    model = read_openvino(str(path))
    return model, openvino_properties(model)


def _read_program(path: Path) -> tuple[Any, dict[str, str]]:
    properties = dict.fromkeys(PROPERTIES, "")
    program = torch.export.load(path, extra_files=properties)
    return program, {name: text for name, text in properties.items() if text}


def _cut_onnx(model: Any) -> Any:
    from onnx.utils import Extractor

    return Extractor(model).extract_model([RAW_INPUT], list(RAW_OUTPUTS))


def _cut_openvino(model: Any) -> Any:
    import openvino

    tensors = {
        name: output
        for node in model.get_ops()
        for output in node.outputs()
        for name in output.get_names()
        if name in (RAW_INPUT, *RAW_OUTPUTS)
    }
    images = tensors[RAW_INPUT]
    parameter = openvino.opset13.parameter(images.get_partial_shape(), images.get_element_type())
    readers = images.get_target_inputs()
    images.set_names(set())
    parameter.output(0).set_names({RAW_INPUT})
    for reader in readers:
        reader.replace_source_output(parameter.output(0))
    return openvino.Model([tensors[name] for name in RAW_OUTPUTS], [parameter], "network")


def _cut_program(whole: fx.GraphModule) -> fx.GraphModule:
    inside = {node for node in whole.graph.nodes if _is_of_network(node)}
    leaving = [node for node in whole.graph.nodes if node in inside and node.users.keys() - inside]
    entering = next(
        source
        for node in whole.graph.nodes
        if node in inside
        for source in node.all_input_nodes
        if source not in inside and source.op != "get_attr"
    )
    cut = fx.Graph()
    images = cut.placeholder(RAW_INPUT)
    images.meta = entering.meta
    batch = cut.call_function(torch.ops.aten.sym_size.int, (images, 0))
    kept = {entering: images}
    for node in whole.graph.nodes:
        if node in inside or (node.op == "get_attr" and node.users.keys() & inside):
            kept[node] = cut.node_copy(node, kept.__getitem__)
        else:  # all else that the network reads is how many images there are
            kept.setdefault(node, batch)
    cut.output(tuple(kept[node] for node in leaving))
    return fx.GraphModule(whole, cut)


def _is_of_network(node: fx.Node) -> bool:
    return any(path == "network" for path, _ in node.meta.get("nn_module_stack", {}).values())
