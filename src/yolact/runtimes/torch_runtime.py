"""The network in torch itself, on any device that torch knows."""

import torch
from torch import Tensor

from yolact.model.mask_scorer import MaskScorer
from yolact.model.yolact import Yolact
from yolact.runtimes.base import Precision, RuntimeName
from yolact.structures import Predictions


class TorchRuntime:
    """A network in evaluation mode, with its channels last in memory."""

    name: RuntimeName = "torch"
    precision: Precision = "float32"

    def __init__(self, network: Yolact, device: torch.device) -> None:
        """Move ``network`` itself to ``device``; it stays the caller's, who may train it on."""
        self.device = device
        self.network: Yolact = network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    @property
    def description(self) -> str:
        """See :class:`yolact.runtimes.base.Runtime`."""
        return f"torch {torch.__version__} on {self.device}, {self.precision}"

    @property
    def mask_scorer(self) -> MaskScorer | None:
        """See :class:`yolact.runtimes.base.Runtime`."""
        return self.network.mask_scorer

    def run(self, images: Tensor) -> Predictions:
        """See :class:`yolact.runtimes.base.Runtime`."""
        with torch.inference_mode():
            predictions: Predictions = self.network(
                images.contiguous(memory_format=torch.channels_last)
            )
        return predictions
