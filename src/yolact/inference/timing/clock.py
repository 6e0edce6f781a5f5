"""A clock that shares out the time of one run among the stages of a model."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


class Clock:
    """Shares out the time of one run: from one mark to the next, to the stage that ended there.

    Nothing is counted twice or left out, so the stages add up to the whole.
    """

    def __init__(self, device: torch.device) -> None:
        """Start it."""
        self._device = device
        self._last = self._now()
        self.seconds: dict[str, float] = {}
        self.input_size = (0, 0)
        """(height, width) of what the network saw; whoever runs it says so."""

    def mark(self, stage: str) -> None:
        """``stage`` has ended."""
        now = self._now()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now

    @contextmanager
    def watching(
        self,
        ends: Mapping[str, nn.Module],
        begins: Mapping[str, nn.Module] | None = None,
        *,
        entry: nn.Module | None = None,
    ) -> Iterator[None]:
        """Mark stages while a network runs, by hooks that are gone afterwards.

        Args:
            ends: The module with which a stage ends.
            begins: The module that begins when a stage has ended.
            entry: The module whose input is the network's, to note its size.
        """
        hooks = [m.register_forward_hook(self._marking(stage)) for stage, m in ends.items()]
        hooks += [
            m.register_forward_pre_hook(self._marking(stage)) for stage, m in (begins or {}).items()
        ]
        hooks += [entry.register_forward_pre_hook(self._note_input)] if entry is not None else []
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _marking(self, stage: str) -> Callable[..., None]:
        return lambda *_: self.mark(stage)

    def _note_input(self, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        height, width = inputs[0].shape[-2:]
        self.input_size = (height, width)

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        elif self._device.type == "mps":
            torch.mps.synchronize()
        return time.perf_counter()
