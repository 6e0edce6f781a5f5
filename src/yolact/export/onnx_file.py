"""Networks as ONNX."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from yolact.artifacts.record import ExportRecord
from yolact.export.graph import PICTURE_SIZE
from yolact.export.pieces import Piece, network_piece
from yolact.files import replacing
from yolact.model.yolact import Yolact
from yolact.runtimes.base import RAW_INPUT, RAW_OUTPUTS

if TYPE_CHECKING:
    import onnx

OPSET = 19
"""The first with DeformConv, which YOLACT++ needs."""


def raw_onnx(
    network: Yolact, image_size: tuple[int, int], *, batch: int | None = None
) -> "onnx.ModelProto":
    """The network alone: float32 images (batch, 3, H, W) in, ``RAW_OUTPUTS`` out.

    Args:
        network: On any device; it is not changed.
        image_size: (height, width) of its input.
        batch: The only number of images it takes; any if None.
    """
    return piece_onnx(network_piece(network, image_size, batch))


def piece_onnx(piece: Piece) -> "onnx.ModelProto":
    """One piece of an export as an ONNX model of its own."""
    with _quiet("onnx_ir"):
        program = torch.onnx.export(
            piece.program(),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(piece.inputs),
            output_names=list(piece.outputs),
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _make_constants_outputs(model.graph)
    # The exporter's names of free dimensions mean others in another piece.
    del model.graph.value_info[:]
    for value, free in zip(model.graph.input, piece.free, strict=True):
        _name_free(value, free)
    for value in model.graph.output:
        _name_free(value, dict(enumerate(piece.found)))
    return model


def _name_free(value: "onnx.ValueInfoProto", names: dict[int, str]) -> None:
    for axis, dim in enumerate(value.type.tensor_type.shape.dim):
        if dim.dim_param:
            dim.dim_param = names[axis]


def _make_constants_outputs(graph: "onnx.GraphProto") -> None:
    """Let a node give every output: what a constant gives by itself cannot be joined to anything."""
    from onnx.helper import make_node

    outputs = {value.name for value in graph.output}
    for constant in graph.initializer:
        if (name := constant.name) in outputs:
            constant.name = f"{name}/constant"
            graph.node.append(make_node("Identity", [constant.name], [name]))


@contextmanager
def _quiet(logger: str) -> Iterator[None]:
    """Keep a library's remarks about its own work from the user."""
    log = logging.getLogger(logger)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def join_onnx(
    preprocess: "onnx.ModelProto", network: "onnx.ModelProto", finish: "onnx.ModelProto"
) -> "onnx.ModelProto":
    """The three pieces as one model. The tensors between them keep their names."""
    from onnx.compose import add_prefix, merge_models

    def named(piece: Any, prefix: str) -> Any:
        return add_prefix(piece, prefix, rename_inputs=False, rename_outputs=False, inplace=False)

    seen = merge_models(
        named(preprocess, "preprocess/"),
        named(network, "network/"),
        io_map=[(RAW_INPUT, RAW_INPUT)],
        outputs=[PICTURE_SIZE, *RAW_OUTPUTS],
    )
    between = (PICTURE_SIZE, *RAW_OUTPUTS)
    return merge_models(seen, named(finish, "finish/"), io_map=[(n, n) for n in between])


def write_onnx(model: "onnx.ModelProto", record: ExportRecord, path: Path) -> None:
    """Write one file with everything in it, whole."""
    import onnx

    onnx.helper.set_model_props(model, record.to_properties())
    with replacing(path) as temporary:
        onnx.save(model, temporary)
