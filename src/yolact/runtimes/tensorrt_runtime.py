"""TensorRT, as the execution provider of ONNX Runtime that builds and runs its engines."""

from collections.abc import Callable

import torch
from torch import Tensor

from yolact.errors import UsageError
from yolact.runtimes.base import RAW_INPUT, Precision, RuntimeName, check_images
from yolact.runtimes.onnx_runtime import (
    Provider,
    import_onnxruntime,
    run_session,
    session,
    session_name,
)
from yolact.structures import Predictions

_PROVIDER = "TensorrtExecutionProvider"
_MOST = 32
"""The largest batch of the first engine; ONNX Runtime builds another for larger ones."""


def check_tensorrt(device: torch.device) -> None:
    """Make sure that TensorRT can run something on a device.

    Raises:
        UsageError: If ONNX Runtime or TensorRT is not there, or the device is no NVIDIA GPU.
    """
    if _PROVIDER not in import_onnxruntime().get_available_providers():
        raise UsageError(
            "TensorRT is not installed: pip install onnxruntime-gpu tensorrt-cu12, on a machine with "
            "an NVIDIA GPU."
        )
    if device.type != "cuda":
        raise UsageError(f"TensorRT runs on NVIDIA GPUs, not on {device}.")


class TensorRtRuntime:
    """A raw ONNX graph in TensorRT. Building its engine takes minutes, at the first run."""

    name: RuntimeName = "tensorrt"

    def __init__(
        self,
        model: bytes,
        image_size: tuple[int, int],
        device: torch.device,
        *,
        precision: Precision = "float32",
        mask_scorer: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        """Prepare a graph; the arguments are those of ``OnnxRuntime``, with any ``precision``.

        Raises:
            UsageError: As :func:`check_tensorrt`.
        """
        check_tensorrt(device)
        self.device, self.precision, self.mask_scorer = device, precision, mask_scorer
        self._image_size = image_size
        height, width = image_size
        shapes = {"min": 1, "opt": 1, "max": _MOST}
        options = {
            f"trt_profile_{name}_shapes": f"{RAW_INPUT}:{batch}x3x{height}x{width}"
            for name, batch in shapes.items()
        }
        provider = Provider(
            _PROVIDER,
            {
                "device_id": device.index or 0,
                "trt_fp16_enable": precision == "fp16",
                "trt_bf16_enable": precision == "bf16",
                "trt_int8_enable": precision == "int8",
                **options,
            },
        )
        self._session = session(model, provider)

    @property
    def description(self) -> str:
        """See :class:`yolact.runtimes.base.Runtime`."""
        return f"{session_name(self._session)} on {self.device}, {self.precision}"

    def run(self, images: Tensor) -> Predictions:
        """See :class:`yolact.runtimes.base.Runtime`."""
        check_images(images, self._image_size)
        return run_session(self._session, images)
