"""From the name of a runtime and a network's graph to what runs it."""

from pathlib import Path
from typing import Any

import torch

from yolact.artifacts.metadata import ArtifactMetadata
from yolact.artifacts.record import ExportRecord
from yolact.config.export import FilePrecision
from yolact.config.runtime import Precision, PrecisionChoice, RuntimeChoice, RuntimeName
from yolact.errors import CheckpointError, UsageError, installed_with
from yolact.model.mask_scorer import MaskScorer
from yolact.runtimes.base import Runtime
from yolact.runtimes.graph_file import ONNX, OPENVINO, PROGRAM, read_graph
from yolact.runtimes.onnx_runtime import OnnxRuntime
from yolact.runtimes.openvino_runtime import OpenVinoRuntime, read_openvino
from yolact.runtimes.program_runtime import ProgramRuntime
from yolact.runtimes.tensorrt_runtime import TensorRtRuntime, check_tensorrt

_RUN_BY: dict[str, tuple[RuntimeName, ...]] = {
    ONNX: ("onnxruntime", "openvino", "tensorrt"),
    OPENVINO: ("openvino",),
    PROGRAM: ("torch",),
}
"""Who can run which files; the first does unless another is asked for."""


def runtime_of_file(path: Path, asked: RuntimeChoice = "auto") -> RuntimeName:
    """What runs an exported file: by ``auto`` the runtime that its format belongs to.

    Raises:
        UsageError: If the runtime asked for cannot.
    """
    able = _RUN_BY[path.suffix]
    if asked == "auto":
        return able[0]
    if asked not in able:
        raise UsageError(
            f"{path} cannot be run by {asked}: {path.suffix} files are for {', '.join(able)}."
        )
    return asked


def open_file(
    path: Path,
    name: RuntimeName,
    device: torch.device,
    precision: PrecisionChoice = "auto",
) -> tuple[Runtime, ArtifactMetadata]:
    """What runs an exported file, raw or final, and the record of its model.

    Args:
        path: An ``.onnx``, ``.xml`` or ``.pt2`` file.
        name: From :func:`runtime_of_file`.
        device: Where to run it.
        precision: Of the arithmetic; ``auto`` for the file's own.

    Raises:
        CheckpointError: If the file is missing, broken, or not of this package.
        UsageError: If the runtime is not installed, or cannot do this.
    """
    model, record = read_graph(path)
    return open_graph(name, model, record, device, precision), record.metadata


def open_graph(
    name: RuntimeName,
    model: Any,
    record: ExportRecord,
    device: torch.device,
    precision: PrecisionChoice = "auto",
) -> Runtime:
    """What runs a raw graph.

    Args:
        name: Any but ``reference``.
        model: An ``onnx.ModelProto``; for ``openvino`` an ``openvino.Model`` will do as well, and for
            ``torch`` it is a ``torch.export.ExportedProgram``.
        record: What the file of it says, or would say.
        device: Where to run it.
        precision: Of the arithmetic; ``auto`` for the graph's own.

    Raises:
        UsageError: If the runtime is not installed, or cannot do this.
    """
    chosen = check_choice(name, record.precision, device, precision)
    config = record.metadata.model
    scorer = None
    if record.mask_scorer is not None:
        scorer = MaskScorer(config.num_classes).to(device).eval().requires_grad_(False)
        try:
            scorer.load_state_dict(record.mask_scorer)
        except RuntimeError as error:
            raise CheckpointError("the weights that judge masks do not fit this model.") from error
    if name == "openvino":
        try:
            graph = model if hasattr(model, "reshape") else read_openvino(model.SerializeToString())
            return OpenVinoRuntime(
                graph,
                config.image_size,
                precision="float32" if chosen == "int8" else chosen,
                quantized=record.precision == "int8",
                mask_scorer=scorer,
            )
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise UsageError(f"OpenVINO cannot run this network: {reason}") from error
    if name == "torch":
        return ProgramRuntime(model, config.image_size, device, mask_scorer=scorer)
    kind = TensorRtRuntime if name == "tensorrt" else OnnxRuntime
    return kind(
        model.SerializeToString(),
        config.image_size,
        device,
        precision=chosen,
        mask_scorer=scorer,
    )


def check_choice(
    name: RuntimeName, own: FilePrecision, device: torch.device, asked: PrecisionChoice
) -> Precision:
    """The precision that a graph will run in, if all that is asked for can be had.

    Args:
        name: Of the runtime, any but ``reference``.
        own: What the graph was made in.
        device: Where to run it.
        asked: What is asked for.

    Raises:
        UsageError: If it cannot.
    """
    if name == "openvino":
        if device.type != "cpu":
            raise UsageError(f"the runtime openvino runs on the CPU, not on {device}.")
        with installed_with("openvino"):
            import openvino  # noqa: F401
    if name == "tensorrt":
        check_tensorrt(device)
    if asked == "auto" or asked == own:
        return own
    if asked == "int8":
        raise UsageError(
            "int8 takes a network quantised on pictures: yolact export --int8 DATA makes a file of it."
        )
    if name in ("onnxruntime", "torch"):
        raise UsageError(f"the runtime {name} runs this network in {own} only.")
    if asked == "float32":
        raise UsageError("this network is quantised to int8: it cannot be run in float32.")
    return asked
