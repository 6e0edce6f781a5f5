"""OpenVINO on the CPU."""

from collections.abc import Callable
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from yolact.errors import UsageError, installed_with
from yolact.runtimes.base import (
    RAW_INPUT,
    RAW_OUTPUTS,
    Precision,
    RuntimeName,
    check_images,
    run_in_parts,
)
from yolact.structures import Predictions

_HINTS = {"float32": ("f32", "FP32"), "bf16": ("bf16", "BF16"), "fp16": ("f16", "FP16")}
"""Of each precision OpenVINO's name, and the one it has among the processor's capabilities."""


class OpenVinoRuntime:
    """A raw graph in OpenVINO, compiled for one image at a time, unless its batch is fixed.

    The images of a batch run one after the other: each alone keeps all cores busy, and a graph of
    fixed shape is the fastest.
    """

    name: RuntimeName = "openvino"
    device = torch.device("cpu")

    def __init__(
        self,
        model: Any,
        image_size: tuple[int, int],
        *,
        precision: Precision = "float32",
        quantized: bool = False,
        mask_scorer: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        """Compile a graph.

        Args:
            model: An ``openvino.Model`` of the network alone; it is given a fixed batch.
            image_size: (height, width) of its input.
            precision: Of the arithmetic; of a quantised graph, of what is not int8 in it. OpenVINO
                would choose bf16 by itself where it is fast.
            quantized: Whether the graph holds int8.
            mask_scorer: On the CPU.

        Raises:
            UsageError: If the processor has no such numbers.
        """
        import openvino

        core = openvino.Core()
        hint, capability = _HINTS[precision]
        if capability not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise UsageError(f"OpenVINO has no {precision} on this processor: take float32.")
        self.precision: Precision = "int8" if quantized else precision
        self.mask_scorer, self._image_size, self._rest = mask_scorer, image_size, precision
        batch = model.input(RAW_INPUT).get_partial_shape()[0]
        self._batch = batch.get_length() if batch.is_static else 1
        model.reshape({RAW_INPUT: [self._batch, 3, *image_size]})
        compiled = core.compile_model(
            model,
            "CPU",
            {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": hint,
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            },
        )
        self._shapes = {name: tuple(compiled.output(name).shape) for name in RAW_OUTPUTS}
        self._request = compiled.create_infer_request()
        self._lock = Lock()  # a request does one thing at a time

    @property
    def description(self) -> str:
        """See :class:`yolact.runtimes.base.Runtime`."""
        import openvino

        version = openvino.__version__.split("-")[0]
        rest = f", the rest {self._rest}" if self.precision == "int8" else ""
        return f"OpenVINO {version} on cpu, {self.precision}{rest}"

    def run(self, images: Tensor) -> Predictions:
        """See :class:`yolact.runtimes.base.Runtime`."""
        check_images(images, self._image_size)
        return run_in_parts(self._run_part, images, self._batch)

    def _run_part(self, images: Tensor) -> Predictions:
        import openvino

        # OpenVINO writes into tensors of ours: its own would be overwritten by the next run, while
        # somebody may still want a mask of this one.
        found = {name: torch.empty(shape) for name, shape in self._shapes.items()}
        with self._lock:
            for name, tensor in {RAW_INPUT: images.contiguous(), **found}.items():
                array = tensor.numpy()
                self._request.set_tensor(name, openvino.Tensor(array, shared_memory=True))
            self._request.infer()
        return Predictions(**found)


def read_openvino(source: bytes | str) -> Any:
    """The ``openvino.Model`` of an ``.xml`` or ``.onnx`` file, or of a serialised ONNX graph.

    Raises:
        UsageError: If OpenVINO is not installed.
        RuntimeError: If it cannot read this.
    """
    with installed_with("openvino"):
        import openvino
        from openvino.frontend.onnx import ConversionExtension

    core = openvino.Core()
    core.add_extension(ConversionExtension("DeformConv", _deformable))
    return core.read_model(source)


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
