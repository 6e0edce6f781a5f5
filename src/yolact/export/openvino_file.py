"""Networks as OpenVINO's two files: the graph as ``.xml``, the weights beside it as ``.bin``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolact.artifacts.record import METADATA, ExportRecord
from yolact.export.graph import FINAL_INPUTS
from yolact.files import replacing
from yolact.runtimes.openvino_runtime import read_openvino

if TYPE_CHECKING:
    import onnx


def from_onnx(model: "onnx.ModelProto") -> Any:
    """The ``openvino.Model`` of an ONNX graph, with the same names."""
    return read_openvino(model.SerializeToString())


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
            if piece_input.get_any_name() in FINAL_INPUTS
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
