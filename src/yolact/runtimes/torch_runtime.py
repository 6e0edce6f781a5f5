"""The network in torch itself, on any device that torch knows."""

import platform
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from yolact.errors import UsageError
from yolact.model.mask_scorer import MaskScorer
from yolact.model.yolact import Yolact
from yolact.runtimes.base import Precision, RuntimeName, check_images
from yolact.runtimes.folding import has_batch_norms
from yolact.structures import Predictions

_HALVES: dict[Precision, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


class TorchRuntime:
    """A network in evaluation mode, with its channels last in memory.

    Unless it is compiled, its parts run one by one, so that hooks on them see what they do.
    """

    name: RuntimeName = "torch"

    def __init__(
        self,
        network: Yolact,
        device: torch.device,
        *,
        precision: Precision = "float32",
        compiled: bool = False,
    ) -> None:
        """Move ``network`` itself to ``device``; in float32 it stays the caller's, who may train it on.

        Args:
            network: Its convolutions are rounded if ``precision`` has fewer bits.
            device: Where to run.
            precision: Of the convolutions.
            compiled: Fuse its operations with torch.compile, at the first run of each batch size, and
                replay them as CUDA graphs. It takes a C++ compiler.

        Raises:
            UsageError: If the device has no such numbers.
        """
        _check_precision(precision, device)
        self.device, self.precision, self.compiled = device, precision, compiled
        self.network: Yolact = network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self._dtype = _HALVES.get(precision)
        if self._dtype is not None:
            for part in (network.backbone, network.fpn, network.protonet, network.head):
                for module in part.modules():
                    if isinstance(module, nn.Conv2d):
                        module.to(self._dtype)
        self._forward: Any = self.network
        if compiled:
            self._forward = torch.compile(self.network, mode="reduce-overhead")

    @property
    def description(self) -> str:
        """See :class:`yolact.runtimes.base.Runtime`."""
        done = ["channels last"]
        if not has_batch_norms(self.network):
            done.append("batch norm folded")
        if self.compiled:
            done.append("compiled")
        if self.device.type == "cuda" and self._dtype is None and torch.backends.cudnn.allow_tf32:
            done.append("convolutions in TF32")
        return f"torch {torch.__version__} on {self.device}, {self.precision}: {', '.join(done)}"

    @property
    def mask_scorer(self) -> MaskScorer | None:
        """See :class:`yolact.runtimes.base.Runtime`."""
        return self.network.mask_scorer

    def run(self, images: Tensor) -> Predictions:
        """See :class:`yolact.runtimes.base.Runtime`."""
        check_images(images, self.network.image_size)
        if self.compiled:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        with torch.inference_mode(), self._autocast():
            found: Predictions = self._forward(images.contiguous(memory_format=torch.channels_last))
        if not self.compiled and self._dtype is None:
            return found
        # The next replay of a CUDA graph overwrites what the last one gave.
        return Predictions(
            box_offsets=_own(found.box_offsets),
            class_logits=_own(found.class_logits),
            coefficients=_own(found.coefficients),
            prototypes=_own(found.prototypes),
        )

    def _autocast(self) -> AbstractContextManager[Any]:
        if self._dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, self._dtype)


def _own(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float32, copy=True)


def _check_precision(precision: Precision, device: torch.device) -> None:
    if precision == "int8":
        raise UsageError(
            "torch runs this network in floats: yolact export --int8 DATA makes an int8 file of it."
        )
    if device.type == "cpu" and precision == "fp16":
        raise UsageError("torch has no fast fp16 on CPUs: take bf16 or float32.")
    if device.type == "cpu" and precision == "bf16" and not _cpu_has_bf16():
        raise UsageError("this processor has no bf16: take float32.")
    if (
        device.type == "cuda"
        and precision == "bf16"
        and not torch.cuda.is_bf16_supported(including_emulation=False)
    ):
        raise UsageError("this GPU has no bf16: take fp16 or float32.")


def _cpu_has_bf16() -> bool:
    """Whether the processor itself multiplies bf16: torch would imitate it, and be slow."""
    if platform.machine() in ("x86_64", "AMD64"):
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
