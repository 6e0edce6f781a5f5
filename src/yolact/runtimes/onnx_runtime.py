"""ONNX Runtime, on the CPU or on CUDA."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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


class OnnxRuntime:
    """A raw ONNX graph in ONNX Runtime."""

    name: RuntimeName = "onnxruntime"

    def __init__(
        self,
        model: bytes,
        image_size: tuple[int, int],
        device: torch.device,
        *,
        precision: Precision = "float32",
        mask_scorer: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        """Prepare a graph.

        Args:
            model: The graph of the network alone, serialised.
            image_size: (height, width) of its input.
            device: The CPU, or a GPU that CUDA drives.
            precision: What the graph was made in, which ONNX Runtime does not change.
            mask_scorer: On ``device``.

        Raises:
            UsageError: If ONNX Runtime is not installed, or not for this device.
        """
        self.device, self.precision, self.mask_scorer = device, precision, mask_scorer
        self._image_size = image_size
        self._session = session(model, self._provider())

    def _provider(self) -> "Provider":
        return provider_for(self.device)

    @property
    def description(self) -> str:
        """See :class:`yolact.runtimes.base.Runtime`."""
        return f"{session_name(self._session)} on {self.device}, {self.precision}"

    def run(self, images: Tensor) -> Predictions:
        """See :class:`yolact.runtimes.base.Runtime`."""
        check_images(images, self._image_size)
        return run_session(self._session, images)


def import_onnxruntime() -> Any:
    """ONNX Runtime, which would report to its makers from its import on.

    Raises:
        UsageError: If it is not installed.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # it has no other switch that is early enough
    with installed_with("onnx"):
        import onnxruntime

    return onnxruntime


def runs_on_cuda() -> bool:
    """Whether this ONNX Runtime can use a GPU that is here.

    Raises:
        UsageError: If ONNX Runtime is not installed.
    """
    onnxruntime = import_onnxruntime()
    return "CUDAExecutionProvider" in onnxruntime.get_available_providers() and (
        torch.cuda.is_available()
    )


@dataclass(frozen=True)
class Provider:
    """What of ONNX Runtime does the work, and its settings."""

    name: str
    options: dict[str, Any]


def provider_for(device: torch.device) -> Provider:
    """ONNX Runtime's own provider for a device.

    Raises:
        UsageError: If there is none.
    """
    if device.type == "cpu":
        return Provider("CPUExecutionProvider", {})
    if device.type == "cuda":
        # TensorFloat-32 keeps 10 bits of the mantissa: nobody has asked for that.
        return Provider("CUDAExecutionProvider", {"device_id": device.index or 0, "use_tf32": 0})
    raise UsageError(f"ONNX Runtime runs on cpu and cuda here, not on {device.type}.")


def session(model: bytes, provider: Provider) -> Any:
    """A session of ONNX Runtime in which ``provider`` runs all that it can.

    Raises:
        UsageError: If ONNX Runtime is not installed, has no such provider, or cannot run the model.
    """
    onnxruntime = import_onnxruntime()
    if provider.name not in onnxruntime.get_available_providers():
        raise UsageError(
            f"this ONNX Runtime has no {provider.name}: pip install onnxruntime-gpu, in place of "
            "onnxruntime."
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    # Its threads would go on looking for work while torch's do what comes after the network.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        made = onnxruntime.InferenceSession(
            model, options, providers=[(provider.name, provider.options)]
        )
    except Exception as error:  # its errors have no class of their own in common
        raise UsageError(
            f"ONNX Runtime {onnxruntime.__version__} cannot run this network: "
            f"{str(error).splitlines()[0]}"
        ) from error
    if provider.name not in made.get_providers():  # it falls back to the CPU in silence
        raise UsageError(
            f"ONNX Runtime could not start its {provider.name}: its libraries are not of the "
            "versions it needs, or not to be found."
        )
    return made


def session_name(session: Any) -> str:
    """ONNX Runtime's version, and what does the work in this session."""
    onnxruntime = import_onnxruntime()
    provider = session.get_providers()[0].removesuffix("ExecutionProvider")
    return f"ONNX Runtime {onnxruntime.__version__} ({provider})"


def run_session(session: Any, images: Tensor) -> Predictions:
    """Run images (B, 3, H, W) where they lie; what comes out lies there as well, in tensors of its own."""
    batch = session.get_inputs()[0].shape[0]
    fixed = batch if isinstance(batch, int) else None
    return run_in_parts(partial(_run_part, session), images, fixed)


def _run_part(session: Any, images: Tensor) -> Predictions:
    images = images.contiguous()
    if images.device.type == "cpu":
        found = session.run(RAW_OUTPUTS, {RAW_INPUT: images.numpy()})
        return Predictions(*map(torch.from_numpy, found))
    shapes = {output.name: (len(images), *output.shape[1:]) for output in session.get_outputs()}
    outputs = {name: images.new_empty(shapes[name]) for name in RAW_OUTPUTS}
    binding = session.io_binding()
    binding.bind_input(RAW_INPUT, **_place(images))
    for name, output in outputs.items():
        binding.bind_output(name, **_place(output))
    torch.cuda.current_stream(images.device).synchronize()  # the session has a stream of its own
    session.run_with_iobinding(binding)
    return Predictions(**outputs)


def _place(tensor: Tensor) -> dict[str, Any]:
    return {
        "device_type": tensor.device.type,
        "device_id": tensor.device.index or 0,
        "element_type": np.float32,
        "shape": tuple(tensor.shape),
        "buffer_ptr": tensor.data_ptr(),
    }
