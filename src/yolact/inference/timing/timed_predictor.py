"""A Predictor beside a clock: the pipeline that is used, watched where it calls the runtime."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from yolact.config.runtime import Precision, RuntimeName
from yolact.inference.predictor import Predictor
from yolact.inference.reference import FullMasks, ReferenceRuntime
from yolact.inference.sources import Source
from yolact.inference.timing.clock import Clock
from yolact.inference.timing.measure import Limit, measure_together
from yolact.inference.timing.timeline import (
    DETECT,
    DRAW,
    MASKS,
    NETWORK,
    NETWORK_PARTS,
    RESCORE,
    Part,
    Timeline,
)
from yolact.results import Masks
from yolact.runtimes.base import Runtime
from yolact.runtimes.torch_runtime import TorchRuntime
from yolact.structures import Predictions


class TimedPredictor:
    """A :class:`Predictor` beside a clock.

    A run is what :meth:`Predictor.detect` does, with the runtime in an envelope that marks when it is
    called and when it answers; then every mask is read as a bitmap.
    """

    def __init__(
        self, model: Predictor, name: str, *, batch_size: int = 1, draws: bool = False
    ) -> None:
        """Take the model and what to call it.

        Args:
            model: What predicts.
            name: What people call it.
            batch_size: So many copies of a picture go through it together.
            draws: Whether what was found is drawn, too.
        """
        self.name, self.batch_size = name, batch_size
        self.model, self._draws = model, draws
        self._modules = _modules(model.runtime)
        scored = model.runtime.mask_scorer is not None
        self.parts = (
            Part("preprocess"),
            *_network_parts(divided=bool(self._modules)),
            *([Part(RESCORE, (DETECT, self._masks_from))] if scored else []),
            Part(MASKS, (DETECT, self._masks_from)),
            *([Part(DRAW, (MASKS,))] if draws else []),
        )

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.model.device

    def run(
        self, picture: NDArray[np.uint8], clock: Clock, limit: Limit | None
    ) -> NDArray[np.float32]:
        """See :class:`yolact.inference.timing.measure.Timed`."""
        detection = self.model.metadata.detection
        if limit is not None:
            detection = replace(
                detection, score_threshold=limit.score, max_detections=limit.count, labels=None
            )
        watched = copy.copy(self.model)
        watched.runtime = _Watched(self.model.runtime, self._modules, clock)
        pictures = [picture] * self.batch_size
        _, found = watched.forward(pictures, detection)
        clock.mark(DETECT)
        results = [watched.finish(*pair) for pair in zip(found, pictures, strict=True)]
        for result in results:
            _read(result.masks)
        clock.mark(MASKS)
        if self._draws:
            for result in results:
                result.plot()
            clock.mark(DRAW)
        return results[0].scores

    @property
    def _masks_from(self) -> str:
        return "protonet" if self._modules else NETWORK


class _Watched:
    """A runtime that marks on a clock where the stages around it end; it answers the same."""

    def __init__(self, runtime: Runtime, modules: dict[str, nn.Module], clock: Clock) -> None:
        self._runtime, self._modules, self._clock = runtime, modules, clock
        self.name: RuntimeName = runtime.name
        self.device: torch.device = runtime.device
        self.precision: Precision = runtime.precision
        self.description: str = runtime.description

    @property
    def mask_scorer(self) -> Callable[[Tensor], Tensor] | None:
        return None if self._runtime.mask_scorer is None else self._judge

    def run(self, images: Tensor) -> Predictions:
        clock = self._clock
        clock.mark("preprocess")
        clock.input_size = (images.shape[2], images.shape[3])
        with clock.watching(self._modules):
            predictions = self._runtime.run(images)
        if not self._modules:
            clock.mark(NETWORK)
        return predictions

    def _judge(self, soft: Tensor) -> Tensor:
        scorer = self._runtime.mask_scorer
        assert scorer is not None
        self._clock.mark(DETECT)
        ious = scorer(soft)
        self._clock.mark(RESCORE)
        return ious


def measure(
    model: Predictor, pictures: Sequence[Source], *, repeats: int = 10, name: str = "yolact"
) -> Timeline:
    """Time each stage of a model on pictures, one picture at a time, with its own settings.

    All that it detects counts, filtered by its own score threshold (0.05 in the paper) and not for
    display, and every mask is made.

    Args:
        model: What predicts.
        pictures: RGB uint8 arrays (H, W, 3); of files the time to read and decode counts too.
        repeats: How often each picture is run, after some runs to warm up.
        name: What the timeline calls the model.

    Raises:
        ImageError: If a picture cannot be read.
        UsageError: If there is no picture or nothing is repeated.
    """
    return measure_together([TimedPredictor(model, name)], pictures, repeats=repeats)[0]


def _read(masks: Masks) -> None:
    """Every mask as pixels: the bitmap of its window, or of the picture where those are made already."""
    if not isinstance(masks, FullMasks):
        masks.crops()


def _modules(runtime: Runtime) -> dict[str, nn.Module]:
    """The parts of a network that can be watched from outside: one that torch runs eagerly."""
    if isinstance(runtime, ReferenceRuntime) or (
        isinstance(runtime, TorchRuntime) and not runtime.compiled
    ):
        return {name: getattr(runtime.network, name) for name in NETWORK_PARTS}
    return {}


def _network_parts(*, divided: bool) -> tuple[Part, ...]:
    if not divided:
        return (Part(NETWORK, ("preprocess",)), Part(DETECT, (NETWORK,)))
    return (
        Part("backbone", ("preprocess",)),
        Part("fpn", ("backbone",)),
        Part("head", ("fpn",)),
        Part("protonet", ("fpn",)),
        Part(DETECT, ("head",)),
    )
