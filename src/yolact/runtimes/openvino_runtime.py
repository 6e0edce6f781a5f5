"""OpenVINO on the CPU."""

from collections.abc import Callable
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yolact.errors import UsageError, installed_with
from yolact.runtimes.base import RAW_INPUT, RAW_OUTPUTS, Precision, RuntimeName, check_images
from yolact.structures import Predictions

_HINTS = {"float32": ("f32", "FP32"), "bf16": ("bf16", "BF16"), "fp16": ("f16", "FP16")}
"""Of each precision OpenVINO's name, and the one it has among the processor's capabilities."""


class OpenVinoRuntime:
    """A raw graph in OpenVINO, compiled for one image at a time.

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
            model: An ``openvino.Model`` of the network alone; it is given a fixed shape.
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
        model.reshape({RAW_INPUT: [1, 3, *image_size]})
        compiled = core.compile_model(
            model,
            "CPU",
            {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": hint,
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            },
        )
        self._shapes = {name: tuple(compiled.output(name).shape)[1:] for name in RAW_OUTPUTS}
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
        given = images.contiguous().numpy()
        # OpenVINO writes into arrays of ours: its own would be overwritten by the next run, while
        # somebody may still want a mask of this one.
        found = {
            name: np.empty((len(given), *shape), np.float32) for name, shape in self._shapes.items()
        }
        with self._lock:
            for index in range(len(given)):
                self._run_one(
                    given[index : index + 1],
                    {name: array[index : index + 1] for name, array in found.items()},
                )
        return Predictions(**{name: torch.from_numpy(array) for name, array in found.items()})

    def _run_one(self, image: NDArray[np.float32], outputs: dict[str, NDArray[np.float32]]) -> None:
        import openvino

        self._request.set_tensor(RAW_INPUT, openvino.Tensor(image, shared_memory=True))
        for name, array in outputs.items():
            self._request.set_tensor(name, openvino.Tensor(array, shared_memory=True))
        self._request.infer()


def read_openvino(source: bytes | str) -> Any:
    """The ``openvino.Model`` of an ``.xml`` or ``.onnx`` file, or of a serialised ONNX graph.

    Raises:
        UsageError: If OpenVINO is not installed.
        RuntimeError: If it cannot read this.
    """
    with installed_with("openvino"):
        import openvino

    return openvino.Core().read_model(source)
