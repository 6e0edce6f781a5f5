"""Models run in turn beside a clock. Knows nothing of how a model works."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from yolact.errors import UsageError
from yolact.inference.sources import Source, load_picture, source_path
from yolact.inference.timing.clock import Clock
from yolact.inference.timing.machine import device_name
from yolact.inference.timing.timeline import DETECT, DRAW, READ, Growth, Part, Stage, Timeline

_SETTLED, _QUICKER, _MOST_WARM_UPS = 2, 0.9, 12
_PAUSE = 0.05
"""Seconds before each run. Threads of the model before keep their cores busy for a while, waiting for
more to do, and would slow down another one."""


@dataclass(frozen=True)
class Limit:
    """What a model shall find in a picture, in place of its own settings."""

    score: float
    """Only detections above it."""
    count: int
    """At most so many, the best."""


class Timed(Protocol):
    """A model that can be run beside a clock."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def device(self) -> torch.device:
        """Where it runs."""

    @property
    def batch_size(self) -> int:
        """How many pictures go through it together."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """Its stages in the order in which they run, from ``preprocess`` on."""

    def run(
        self, picture: NDArray[np.uint8], clock: Clock, limit: Limit | None
    ) -> NDArray[np.float32]:
        """All the way to finished masks, marking each stage, for ``batch_size`` times one picture.

        Args:
            picture: RGB uint8 (H, W, 3).
            clock: Started.
            limit: What shall be found; None: by the model's own settings.

        Returns:
            (N,) scores of what was found in the picture, best first.
        """


class Beside(Protocol):
    """Something else to be timed in the same run, once in each round: see ``machine.Gemm``."""

    def run(self) -> None:
        """Once; it keeps its own time."""


def measure_together(
    models: Sequence[Timed],
    pictures: Sequence[Source],
    *,
    repeats: int,
    objects: int | None = None,
    beside: Sequence[Beside] = (),
    on_progress: Callable[[], None] = lambda: None,
) -> list[Timeline]:
    """Timelines of several models, run in turn on each picture, so that they share what disturbs.

    Each first runs until it gets no quicker: one run is not enough for what is compiled.

    Args:
        models: In the order of the timelines.
        pictures: RGB uint8 arrays (H, W, 3); of files the time to read and decode counts too.
        repeats: How often each model runs on each picture.
        objects: Each model is made to find so many objects in each picture, if it finds as many at
            all: its best ones; None: by its own settings.
        beside: What else runs once a round.
        on_progress: Called after each run.

    Raises:
        ImageError: If a picture cannot be read.
        UsageError: If there is no picture, nothing is repeated, or ``objects`` is below 1.
    """
    _check(pictures, repeats, [] if objects is None else [objects])
    logs: list[list[Clock]] = [[] for _ in models]
    found: list[list[int]] = [[] for _ in models]
    for index, source in enumerate(pictures):
        picture = load_picture(source)
        limits = [
            None if objects is None else limits_for(model, picture, [objects])[0]
            for model in models
        ]
        if index == 0:
            for model, limit in zip(models, limits, strict=True):
                _warm_up(model, picture, limit)
        for _ in range(repeats):
            for place, model in enumerate(models):
                time.sleep(_PAUSE)
                clock = Clock(model.device)
                for _ in range(model.batch_size):
                    picture = load_picture(source)
                if source_path(source) is not None:
                    clock.mark(READ)
                found[place].append(len(model.run(picture, clock, limits[place])))
                logs[place].append(clock)
                on_progress()
            for other in beside:
                time.sleep(_PAUSE)
                other.run()
    return [
        _timeline(model, log, num_pictures=len(pictures), num_objects=float(np.mean(counts)))
        for model, log, counts in zip(models, logs, found, strict=True)
    ]


def measure_growth(
    models: Sequence[Timed],
    source: Source,
    counts: Sequence[int],
    *,
    repeats: int,
    on_progress: Callable[[], None] = lambda: None,
) -> list[Growth]:
    """How the time of each model grows with the number of objects it finds in one picture.

    Args:
        models: Run in turn, as in :func:`measure_together`.
        source: The picture.
        counts: Numbers of objects. Where a model finds fewer at all, what it finds is said.
        repeats: Runs of each model with each number.
        on_progress: Called after each run.

    Raises:
        ImageError: If the picture cannot be read.
        UsageError: If nothing is repeated, or a number of objects is below 1.
    """
    _check([source], repeats, counts)
    picture = load_picture(source)
    limits = [limits_for(model, picture, counts) for model in models]
    before: list[list[float]] = [[] for _ in models]
    rest: list[dict[int, list[float]]] = [{} for _ in models]
    for _ in range(repeats):
        for number in range(len(counts)):
            for place, model in enumerate(models):
                time.sleep(_PAUSE)
                clock = Clock(model.device)
                found = len(model.run(picture, clock, limits[place][number]))
                late = sum(clock.seconds.get(name, 0.0) for name in _late(model.parts))
                whole = _whole(clock)
                before[place].append((whole - late) / model.batch_size)
                rest[place].setdefault(found, []).append(late / model.batch_size)
                on_progress()
    return [
        _growth(model.name, median(early), {n: median(late) for n, late in sorted(by.items())})
        for model, early, by in zip(models, before, rest, strict=True)
    ]


def _check(pictures: Sequence[Source], repeats: int, counts: Sequence[int]) -> None:
    if not pictures:
        raise UsageError("there is no picture to measure on.")
    if repeats < 1:
        raise UsageError(f"the number of repeats must be at least 1, not {repeats}.")
    if any(count < 1 for count in counts):
        raise UsageError(f"the number of objects must be at least 1, not {min(counts)}.")


def limits_for(model: Timed, picture: NDArray[np.uint8], counts: Sequence[int]) -> list[Limit]:
    """What makes a model find so many objects in this picture.

    The threshold is just below the score of the last one wanted, and not 0: thousands of candidates
    for nothing would make NMS slower than it ever is.
    """
    scores = model.run(picture, Clock(model.device), Limit(0.0, max(counts)))
    lowest = [scores[min(count, len(scores)) - 1] if len(scores) else 0.0 for count in counts]
    below = [float(np.nextafter(np.float32(score), np.float32(0))) for score in lowest]
    return [Limit(score, count) for score, count in zip(below, counts, strict=True)]


def _warm_up(model: Timed, picture: NDArray[np.uint8], limit: Limit | None) -> None:
    """Run a model until it was not a tenth quicker than ever before two times in a row."""
    quickest, settled = float("inf"), 0
    for _ in range(_MOST_WARM_UPS):
        clock = Clock(model.device)
        model.run(picture, clock, limit)
        seconds = _whole(clock)
        settled = 0 if seconds < _QUICKER * quickest else settled + 1
        quickest = min(quickest, seconds)
        if settled == _SETTLED:
            return


def _whole(clock: Clock) -> float:
    """Seconds of a run up to finished masks."""
    return sum(seconds for stage, seconds in clock.seconds.items() if stage != DRAW)


def _late(parts: Sequence[Part]) -> set[str]:
    """The stage that finds the objects, and all that need its output up to the masks."""
    late = {DETECT}
    for part in parts:
        if late.intersection(part.after):
            late.add(part.name)
    return late - {DRAW}


def _timeline(
    model: Timed, log: Sequence[Clock], *, num_pictures: int, num_objects: float
) -> Timeline:
    parts = model.parts
    if any(READ in clock.seconds for clock in log):
        first, *others = parts
        parts = (Part(READ), replace(first, after=(READ,)), *others)
    wholes = [_whole(clock) / model.batch_size for clock in log]
    return Timeline(
        model=model.name,
        device=device_name(model.device),
        image_size=log[0].input_size,
        num_pictures=num_pictures,
        num_repeats=len(log) // num_pictures,
        num_objects=num_objects,
        stages=tuple(_stage(part, log, model.batch_size) for part in parts),
        seconds=median(wholes),
        p95=float(np.percentile(wholes, 95)),
        batch_size=model.batch_size,
    )


def _stage(part: Part, log: Sequence[Clock], batch_size: int) -> Stage:
    seconds = [clock.seconds.get(part.name, 0.0) / batch_size for clock in log]
    p95 = float(np.percentile(seconds, 95))
    return Stage(part.name, part.after, median(seconds), p95, part.per_object)


def _growth(model: str, before: float, late: Mapping[int, float]) -> Growth:
    slope = float(np.polyfit(list(late), list(late.values()), 1)[0]) if len(late) > 1 else None
    seconds = tuple(before + value for value in late.values())
    return Growth(model, tuple(late), seconds, slope)
