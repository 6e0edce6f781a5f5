"""TensorRT, as the execution provider of ONNX Runtime that builds and runs its engines."""

import torch

from yolact.errors import UsageError
from yolact.runtimes.base import RAW_INPUT, RuntimeName
from yolact.runtimes.onnx_runtime import OnnxRuntime, Provider, import_onnxruntime

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


class TensorRtRuntime(OnnxRuntime):
    """A raw ONNX graph in TensorRT, in any precision. Building its engine takes minutes, at the first run.

    Raises:
        UsageError: As :func:`check_tensorrt`.
    """

    name: RuntimeName = "tensorrt"

    def _provider(self) -> Provider:
        check_tensorrt(self.device)
        height, width = self._image_size
        shapes = {"min": 1, "opt": 1, "max": _MOST}
        return Provider(
            _PROVIDER,
            {
                "device_id": self.device.index or 0,
                "trt_fp16_enable": self.precision == "fp16",
                "trt_bf16_enable": self.precision == "bf16",
                "trt_int8_enable": self.precision == "int8",
                **{
                    f"trt_profile_{name}_shapes": f"{RAW_INPUT}:{batch}x3x{height}x{width}"
                    for name, batch in shapes.items()
                },
            },
        )
