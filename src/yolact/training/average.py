"""The moving average of the weights (EMA): calmer than the weights of any single step."""

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from yolact.model.yolact import Yolact


class MovingAverage(AveragedModel):
    """Follows the weights and the batch-norm statistics of a network, step by step.

    After t steps it keeps min(decay, (1 + t) / (10 + t)) of itself, so that the random weights of the
    beginning are soon forgotten.
    """

    def __init__(self, network: Yolact, decay: float) -> None:
        """Begin as a copy of ``network``, without gradients."""
        super().__init__(network, multi_avg_fn=self._blend, use_buffers=True)
        self._decay = decay
        self.requires_grad_(False)

    @property
    def network(self) -> Yolact:
        """The average, as a network."""
        return cast(Yolact, self.module)

    def _blend(
        self, average: Sequence[Tensor], latest: Sequence[Tensor], steps: Tensor | int
    ) -> None:
        decay = min(self._decay, (1 + int(steps)) / (10 + int(steps)))
        get_ema_multi_avg_fn(decay)(average, latest, steps)  # type: ignore[no-untyped-call]


class Statistics:
    """A copy of all buffers, so that a step that is not taken leaves no trace in batch norm.

    A forward pass in training mode changes running means at once; one infinite activation would
    spoil them for good.
    """

    def __init__(self, network: nn.Module) -> None:
        """Remember the buffers as they are."""
        self._buffers = list(network.buffers())
        self._copies = [buffer.clone() for buffer in self._buffers]

    def restore(self) -> None:
        """Put them back."""
        for buffer, copy in zip(self._buffers, self._copies, strict=True):
            buffer.copy_(copy)
