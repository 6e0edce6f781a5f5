"""How long each part of a model takes, from the picture to finished masks."""

import platform
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from yolact.errors import UsageError
from yolact.inference.predictor import Predictor
from yolact.inference.sources import Source, load_picture, source_path
from yolact.processing.postprocess import postprocess, score_masks
from yolact.runtimes.torch_runtime import TorchRuntime

DETECT = "detect"
"""The stage that ends with the objects known. What comes after it works for each of them."""
_READ = "read"


@dataclass(frozen=True)
class Stage:
    """One part of the way from a picture to its masks."""

    name: str
    """``read``, ``preprocess``, ``backbone``, ``fpn``, ``head``, ``protonet``, ``detect`` (softmax,
    filter, decode, NMS), ``rescore`` (of YOLACT++), ``masks``; other models have their own."""
    after: tuple[str, ...]
    """The stages whose output it needs. Two of which neither needs the other may run side by side."""
    seconds: float
    """Median over the repeats."""
    p95: float
    """Seconds, 95th percentile."""
    per_object: bool = False
    """Whether its work is done again for each object, on features pooled from its box."""


@dataclass(frozen=True)
class Timeline:
    """The stages of one model, in the order in which they ran."""

    model: str
    device: str
    """As people know it: the processor's name and number of threads, or the GPU's."""
    image_size: tuple[int, int]
    """(height, width) of the network input in pixels; of the first picture where it depends on it."""
    num_pictures: int
    num_repeats: int
    num_objects: float
    """Found in a picture, mean."""
    stages: tuple[Stage, ...]
    seconds: float
    """A picture, median of the whole."""

    def to_dict(self) -> dict[str, Any]:
        """The same, nested under the same names, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Growth:
    """How the time of one model grows with the number of objects in the picture."""

    model: str
    objects: tuple[int, ...]
    seconds: tuple[float, ...]
    """A picture with so many objects: the median of what happens before the objects are known, over
    all runs, plus the median of the rest for this number."""
    seconds_per_object: float | None
    """Slope of the straight line through them; None of a single number of objects."""

    def to_dict(self) -> dict[str, Any]:
        """The same, under the same names, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Limit:
    """What a model shall find in a picture, in place of its own settings."""

    score: float
    """Only detections above it."""
    count: int
    """At most so many, the best."""


@dataclass(frozen=True)
class Part:
    """What is known of a :class:`Stage` before it is timed."""

    name: str
    after: tuple[str, ...] = ()
    per_object: bool = False


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
        """(height, width) of what the network saw."""

    def mark(self, stage: str) -> None:
        """``stage`` has ended."""
        now = self._now()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now

    @contextmanager
    def watching(
        self, backbone: nn.Module, ends: Mapping[str, nn.Module], begins: Mapping[str, nn.Module]
    ) -> Iterator[None]:
        """Mark stages while a network runs, by hooks that are gone afterwards.

        Args:
            backbone: The part that is given the input.
            ends: The module with which a stage ends.
            begins: The module that begins when a stage has ended.
        """
        hooks = [backbone.register_forward_pre_hook(self._note_input)]
        hooks += [m.register_forward_hook(self._marking(stage)) for stage, m in ends.items()]
        hooks += [m.register_forward_pre_hook(self._marking(stage)) for stage, m in begins.items()]
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


class Timed(Protocol):
    """A model that can be run beside a clock."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def device(self) -> torch.device:
        """Where it runs."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """Its stages in the order in which they run, from ``preprocess`` to ``masks``."""

    def run(
        self, picture: NDArray[np.uint8], clock: Clock, limit: Limit | None
    ) -> NDArray[np.float32]:
        """All the way to masks of the picture's size, marking each stage.

        Args:
            picture: RGB uint8 (H, W, 3).
            clock: Started.
            limit: What shall be found; None: by the model's own settings.

        Returns:
            (N,) scores of what was found, best first.
        """


class TimedPredictor:
    """A :class:`Predictor` beside a clock."""

    def __init__(self, model: Predictor, name: str) -> None:
        """Take the model and what to call it."""
        self.name = name
        assert isinstance(model.runtime, TorchRuntime)
        self._model, self._network = model, model.runtime.network
        scorer = model.runtime.mask_scorer is not None
        self.parts = (
            Part("preprocess"),
            Part("backbone", ("preprocess",)),
            Part("fpn", ("backbone",)),
            Part("head", ("fpn",)),
            Part("protonet", ("fpn",)),
            Part(DETECT, ("head",)),
            *([Part("rescore", (DETECT, "protonet"))] if scorer else []),
            Part("masks", (DETECT, "protonet")),
        )

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self._model.device

    def run(
        self, picture: NDArray[np.uint8], clock: Clock, limit: Limit | None
    ) -> NDArray[np.float32]:
        """See :class:`Timed`. The steps are those of :meth:`Predictor.detect`, one by one."""
        model, network = self._model, self._network
        detection = model.metadata.detection
        if limit is not None:
            detection = replace(
                detection, score_threshold=limit.score, max_detections=limit.count, labels=None
            )
        parts = {name: getattr(network, name) for name in ("backbone", "fpn", "head", "protonet")}
        with torch.inference_mode():
            images = model.preprocessor([picture]).to(model.device)
            images = images.contiguous(memory_format=torch.channels_last)
            clock.mark("preprocess")
            with clock.watching(network.backbone, parts, {}):
                predictions = network(images)
            (found,) = postprocess(predictions, model.anchors, detection)
            clock.mark(DETECT)
            if network.mask_scorer is not None:
                found = score_masks(found, network.mask_scorer)
                clock.mark("rescore")
        result = model.finish(found, picture)
        result.masks.numpy()
        clock.mark("masks")
        return result.scores


def measure(
    model: Predictor, pictures: Sequence[Source], *, repeats: int = 10, name: str = "yolact"
) -> Timeline:
    """Time each stage of a model on pictures, one picture at a time, with its own settings.

    All that it detects counts, filtered by its own score threshold (0.05 in the paper) and not for
    display, and of everything a full-size mask is made.

    Args:
        model: What predicts.
        pictures: RGB uint8 arrays (H, W, 3); of files the time to read and decode counts too.
        repeats: How often each picture is run, after one run to warm up.
        name: What the timeline calls the model.

    Raises:
        ImageError: If a picture cannot be read.
        UsageError: If there is no picture or nothing is repeated.
    """
    return measure_together([TimedPredictor(model, name)], pictures, repeats=repeats)[0]


def measure_together(
    models: Sequence[Timed],
    pictures: Sequence[Source],
    *,
    repeats: int,
    objects: int | None = None,
    on_progress: Callable[[], None] = lambda: None,
) -> list[Timeline]:
    """Timelines of several models, run in turn on each picture, so that they share what disturbs.

    Args:
        models: In the order of the timelines.
        pictures: As for :func:`measure`.
        repeats: How often each model runs on each picture, after one run to warm up.
        objects: Each model is made to find so many objects in each picture, if it finds as many at
            all: its best ones; None: by its own settings.
        on_progress: Called after each run.

    Raises:
        ImageError: If a picture cannot be read.
        UsageError: If there is no picture, nothing is repeated, or ``objects`` is below 1.
    """
    _check(pictures, repeats, [] if objects is None else [objects])
    logs: list[list[Clock]] = [[] for _ in models]
    found: list[list[int]] = [[] for _ in models]
    for index, source in enumerate(pictures):
        limits: list[Limit | None] = [None] * len(models)
        for place, model in enumerate(models):
            if objects is not None:
                limits[place] = _limits(model, load_picture(source), [objects])[0]
            elif index == 0:
                model.run(load_picture(source), Clock(model.device), None)  # warms up
        for _ in range(repeats):
            for place, model in enumerate(models):
                clock = Clock(model.device)
                picture = load_picture(source)
                if source_path(source) is not None:
                    clock.mark(_READ)
                found[place].append(len(model.run(picture, clock, limits[place])))
                logs[place].append(clock)
                on_progress()
    return [
        Timeline(
            model=model.name,
            device=device_name(model.device),
            image_size=log[0].input_size,
            num_pictures=len(pictures),
            num_repeats=repeats,
            num_objects=float(np.mean(counts)),
            stages=_stages(model.parts, log),
            seconds=median(sum(clock.seconds.values()) for clock in log),
        )
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
    limits = [_limits(model, picture, counts) for model in models]
    before: list[list[float]] = [[] for _ in models]
    rest: list[dict[int, list[float]]] = [{} for _ in models]
    for _ in range(repeats):
        for number in range(len(counts)):
            for place, model in enumerate(models):
                clock = Clock(model.device)
                found = len(model.run(picture, clock, limits[place][number]))
                late = sum(clock.seconds.get(name, 0.0) for name in _late(model.parts))
                before[place].append(sum(clock.seconds.values()) - late)
                rest[place].setdefault(found, []).append(late)
                on_progress()
    return [
        _growth(model.name, median(early), {n: median(late) for n, late in sorted(by.items())})
        for model, early, by in zip(models, before, rest, strict=True)
    ]


def device_name(device: torch.device) -> str:
    """A device as people know it: the GPU's name, or the processor's with its threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return str(device)
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.is_file() else ""
    named = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    name = named[1].strip() if named else platform.processor() or platform.machine()
    threads = torch.get_num_threads()
    return f"{name}, {threads} thread{'s' if threads > 1 else ''}"


def _check(pictures: Sequence[Source], repeats: int, counts: Sequence[int]) -> None:
    if not pictures:
        raise UsageError("there is no picture to measure on.")
    if repeats < 1:
        raise UsageError(f"the number of repeats must be at least 1, not {repeats}.")
    if any(count < 1 for count in counts):
        raise UsageError(f"the number of objects must be at least 1, not {min(counts)}.")


def _limits(model: Timed, picture: NDArray[np.uint8], counts: Sequence[int]) -> list[Limit]:
    """What makes a model find so many objects in this picture, and so warms it up.

    The threshold is just below the score of the last one wanted, and not 0: thousands of candidates
    for nothing would make NMS slower than it ever is.
    """
    scores = model.run(picture, Clock(model.device), Limit(0.0, max(counts)))
    lowest = [scores[min(count, len(scores)) - 1] if len(scores) else 0.0 for count in counts]
    below = [float(np.nextafter(np.float32(score), np.float32(0))) for score in lowest]
    return [Limit(score, count) for score, count in zip(below, counts, strict=True)]


def _late(parts: Sequence[Part]) -> set[str]:
    """The stage that finds the objects, and all that need its output."""
    late = {DETECT}
    for part in parts:
        if late.intersection(part.after):
            late.add(part.name)
    return late


def _stages(parts: Sequence[Part], log: Sequence[Clock]) -> tuple[Stage, ...]:
    if any(_READ in clock.seconds for clock in log):
        first, *others = parts
        parts = (Part(_READ), replace(first, after=(_READ,)), *others)
    times = {part: [clock.seconds.get(part.name, 0.0) for clock in log] for part in parts}
    return tuple(
        Stage(
            part.name,
            part.after,
            median(seconds),
            float(np.percentile(seconds, 95)),
            part.per_object,
        )
        for part, seconds in times.items()
    )


def _growth(model: str, before: float, late: Mapping[int, float]) -> Growth:
    slope = float(np.polyfit(list(late), list(late.values()), 1)[0]) if len(late) > 1 else None
    seconds = tuple(before + value for value in late.values())
    return Growth(model, tuple(late), seconds, slope)
