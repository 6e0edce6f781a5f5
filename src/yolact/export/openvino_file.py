"""Networks as OpenVINO's two files: the graph as ``.xml``, the weights beside it as ``.bin``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolact.artifacts.record import METADATA, ExportRecord
from yolact.files import replacing

if TYPE_CHECKING:
    import onnx


def from_onnx(model: "onnx.ModelProto") -> Any:
    """The ``openvino.Model`` of an ONNX graph, with the same names."""
    import openvino

    return openvino.Core().read_model(model.SerializeToString())


def write_openvino(model: Any, record: ExportRecord, path: Path) -> None:
    """Write the ``.xml`` at ``path`` and the ``.bin`` beside it, each whole, with float32 weights."""
    import openvino

    for name, text in record.to_properties().items():
        model.set_rt_info(text, [METADATA, name])
    with replacing(path) as graph, replacing(path.with_suffix(".bin")) as weights:
        openvino.save_model(model, graph, compress_to_fp16=False)
        graph.with_suffix(".bin").replace(weights)
