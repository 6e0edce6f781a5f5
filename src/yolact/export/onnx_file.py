"""Networks as ONNX."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from yolact.artifacts.record import ExportRecord
from yolact.export.graph import RAW_INPUT, RAW_OUTPUTS, RawGraph
from yolact.files import replacing
from yolact.model.yolact import Yolact

if TYPE_CHECKING:
    import onnx

OPSET = 19
"""The first with DeformConv, which YOLACT++ needs."""


def raw_onnx(network: Yolact, image_size: tuple[int, int]) -> "onnx.ModelProto":
    """The network alone: float32 images (batch, 3, H, W) in, ``RAW_OUTPUTS`` out, any batch.

    Args:
        network: On any device; it is not changed.
        image_size: (height, width) of its input.
    """
    example = torch.zeros(2, 3, *image_size)  # a batch of one would be taken for all there is
    program = torch.onnx.export(
        RawGraph(network),
        (example,),
        dynamo=True,
        opset_version=OPSET,
        input_names=[RAW_INPUT],
        output_names=list(RAW_OUTPUTS),
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    assert program is not None
    return program.model_proto


def write_onnx(model: "onnx.ModelProto", record: ExportRecord, path: Path) -> None:
    """Write one file with everything in it, whole."""
    import onnx

    onnx.helper.set_model_props(model, record.to_properties())
    with replacing(path) as temporary:
        onnx.save(model, temporary)
