"""Networks as OpenVINO's two files: the graph as ``.xml``, the weights beside it as ``.bin``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from yolact.artifacts.record import METADATA, ExportRecord
from yolact.files import replacing

if TYPE_CHECKING:
    import onnx


def from_onnx(model: "onnx.ModelProto") -> Any:
    """The ``openvino.Model`` of an ONNX graph, with the same names."""
    import openvino
    from openvino.frontend.onnx import ConversionExtension

    core = openvino.Core()
    core.add_extension(ConversionExtension("DeformConv", _deformable))
    return core.read_model(model.SerializeToString())


def join_openvino(preprocess: Any, network: Any, finish: Any) -> Any:
    """The three pieces as one ``openvino.Model``. The tensors between them keep their names."""
    import openvino

    made = {name: out for out in preprocess.outputs for name in out.get_names()}
    for piece in (network, finish):
        for given in piece.inputs:
            if (name := given.get_any_name()) in made:
                source = made[name].get_node().input_value(0)
                given.replace(source)
                source.get_tensor().add_names({name})
        made |= {name: out for out in piece.outputs for name in out.get_names()}
    return openvino.Model(
        [output.get_node() for output in finish.outputs],
        [
            piece_input.get_node()
            for piece in (preprocess, finish)
            for piece_input in piece.inputs
            if piece_input.get_any_name() in ("pictures", "score")
        ],
    )


def write_openvino(model: Any, record: ExportRecord, path: Path) -> None:
    """Write the ``.xml`` at ``path`` and the ``.bin`` beside it, each whole, with float32 weights."""
    import openvino

    for name, text in record.to_properties().items():
        model.set_rt_info(text, [METADATA, name])
    with replacing(path) as graph, replacing(path.with_suffix(".bin")) as weights:
        openvino.save_model(model, graph, compress_to_fp16=False)
        graph.with_suffix(".bin").replace(weights)


def _deformable(node: Any) -> Any:
    """OpenVINO has deformable convolutions (spec 1.5) but reads none from ONNX by itself."""
    from openvino import opset8

    images, weights, offsets, bias, modulation = map(node.get_input, range(5))
    pads = node.get_attribute("pads")
    convolved = opset8.deformable_convolution(
        images,
        offsets,
        weights,
        node.get_attribute("strides"),
        pads[:2],
        pads[2:],
        node.get_attribute("dilations"),
        mask=modulation,
        bilinear_interpolation_pad=True,
    )
    shape = np.array([1, -1, 1, 1])
    return opset8.add(convolved, opset8.reshape(bias, shape, special_zero=False)).outputs()
