"""Models side by side in one run: their time, their work, and their memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from yolact.config.runtime import Precision
from yolact.inference.sources import Source
from yolact.inference.timing.choice import Loaded
from yolact.inference.timing.machine import Gemm, compared_with, conditions
from yolact.inference.timing.measure import Timed, measure_growth, measure_together
from yolact.inference.timing.memory import Memory, check_system, measure_memory
from yolact.inference.timing.timed_predictor import TimedPredictor
from yolact.inference.timing.timeline import Growth, Timeline
from yolact.inference.timing.work import network_flops


@dataclass(frozen=True)
class Column:
    """All that was measured of one model."""

    timeline: Timeline
    source: str
    """What the model was loaded from."""
    runtime: str
    precision: Precision
    description: str
    """What runs where, in one line."""
    flops: int | None = None
    """Of the network for a picture, a multiplication with its addition as two; None if not counted."""
    gemm: Gemm | None = None
    """What the device can do at most, measured in the same run."""
    memory: Memory | None = None

    @property
    def flops_per_second(self) -> float | None:
        """Of the network, while it runs."""
        return None if self.flops is None else self.flops / self.timeline.network_seconds

    @property
    def share_of_peak(self) -> float | None:
        """That, as a share of what the device can do at most."""
        if self.flops_per_second is None or self.gemm is None:
            return None
        return self.flops_per_second / self.gemm.flops_per_second

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        gemm = self.gemm
        return {
            **self.timeline.to_dict(),
            "source": self.source,
            "runtime": self.runtime,
            "precision": self.precision,
            "description": self.description,
            "flops": self.flops,
            "flops_per_second": self.flops_per_second,
            "peak": None
            if gemm is None
            else {"precision": gemm.precision, "flops_per_second": gemm.flops_per_second},
            "share_of_peak": self.share_of_peak,
            "memory": None if self.memory is None else self.memory.to_dict(),
        }


@dataclass(frozen=True)
class Comparison:
    """Several models that ran in turn."""

    columns: tuple[Column, ...]
    growth: tuple[Growth, ...]
    conditions: dict[str, str]
    """The device and the versions of all that ran."""

    @property
    def timelines(self) -> list[Timeline]:
        """Of the columns."""
        return [column.timeline for column in self.columns]

    def times_as_fast_as(self, name: str) -> dict[str, float]:
        """How many pictures each model does while the one called ``name`` does one."""
        base = next(line.seconds for line in self.timelines if line.model == name)
        return {line.model: base / line.seconds for line in self.timelines}


def compare(
    models: Sequence[Loaded],
    rivals: Sequence[Timed],
    pictures: Sequence[Source],
    *,
    repeats: int,
    objects: int | None = None,
    counts: Sequence[int] = (),
    draws: bool = False,
    with_memory: bool = False,
    on_progress: Callable[[], None] = lambda: None,
) -> Comparison:
    """Run models in turn on each picture, and products of matrices between them.

    Args:
        models: Our own, at least one.
        rivals: Others, which are only timed.
        pictures: As for :func:`yolact.inference.timing.measure.measure_together`.
        repeats: Runs of each model with each picture.
        objects: What each model is made to find; None: by its own settings.
        counts: Numbers of objects for which the time is measured once more, in the first picture.
        draws: Whether what is found is drawn, too.
        with_memory: Whether each model is also run in a process of its own, to see what it needs.
        on_progress: Called after each run.

    Raises:
        ImageError: If a picture cannot be read.
        UsageError: If a number is out of range, or this system does not tell memory.
    """
    if with_memory:
        check_system()
    timed = [
        TimedPredictor(one.model, one.name, batch_size=one.choice.batch_size, draws=draws)
        for one in models
    ]
    together: list[Timed] = [*timed, *rivals]
    gemms = {
        place: Gemm(*place)
        for place in {
            (one.model.device, compared_with(one.model.runtime.precision)) for one in models
        }
    }
    timelines = measure_together(
        together,
        pictures,
        repeats=repeats,
        objects=objects,
        beside=list(gemms.values()),
        on_progress=on_progress,
    )
    growth = (
        measure_growth(together, pictures[0], counts, repeats=repeats, on_progress=on_progress)
        if counts
        else []
    )
    columns = [
        Column(
            line,
            one.choice.model,
            one.choice.runtime,
            one.model.runtime.precision,
            one.model.runtime.description,
            network_flops(one.model.metadata.model),
            gemms[one.model.device, compared_with(one.model.runtime.precision)],
            measure_memory(one.choice, pictures[0], objects=objects) if with_memory else None,
        )
        for one, line in zip(models, timelines, strict=False)
    ]
    columns += [
        Column(
            line,
            "torchvision",
            "torch",
            "float32",
            f"torch {torch.__version__} on {rival.device}, float32",
        )
        for rival, line in zip(rivals, timelines[len(models) :], strict=True)
    ]
    return Comparison(tuple(columns), tuple(growth), conditions(models[0].model.device))
