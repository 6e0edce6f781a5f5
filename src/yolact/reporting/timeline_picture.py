"""``yolact bench --out FILE.png``: timelines one under the other, and growth with the objects."""

import os
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from yolact.files import replacing
from yolact.inference.timing.timeline import Growth, Stage, Timeline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_IMAGE_WIDE, _PER_OBJECT, _BESIDE = "#4878a8", "#c4532d", "#2f8f6b"
_LINES = ("#2f6fa8", "#c4532d", "#8a5a9e", "#5f6b2f", "#7a5236")
_INK, _FAINT = "#22262b", "#5c6670"
_LANE, _GAP = 0.62, 1.0  # height of a lane, and room between two models for their names
_NARROW = 0.05  # share of the width below which a stage's name stands beside the blocks


def draw_timelines(
    timelines: Sequence[Timeline], growth: Sequence[Growth], path: str | os.PathLike[str]
) -> None:
    """Write a picture of where the time goes.

    Stages lie where they ran. One that needs nothing of the stage before it has a lane of its own;
    a dashed outline shows from when on it could have run beside the others.

    Args:
        timelines: All are on one scale; ratios are to the first.
        growth: How time grows with the number of objects; may be empty.
        path: Of the PNG, written whole.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    lanes = sum(1 + any(_waiting(timeline)) for timeline in timelines)
    height = 0.62 * (lanes * _LANE + len(timelines) * _GAP) + 1.2
    figure = Figure(figsize=(11, height + (3.1 if growth else 0)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.set_facecolor("white")
    if growth:
        top, bottom = figure.subplots(2, 1, height_ratios=[height, 3.1])
        _draw_growth(bottom, growth)
    else:
        top = figure.subplots()
    _draw_lanes(top, timelines)
    pooled = any(stage.per_object for timeline in timelines for stage in timeline.stages)
    beside = any(any(_waiting(timeline)) for timeline in timelines)
    entries = [
        (_IMAGE_WIDE, "once for the image", True),
        (_BESIDE, "once, beside the head (dashed: could run there)", beside),
    ]
    entries.append((_PER_OBJECT, "again for each box, on features pooled from it", pooled))
    figure.legend(
        handles=[Patch(color=color, label=text) for color, text, shown in entries if shown],
        loc="outside upper left",
        ncols=3,
        frameon=False,
        fontsize=9,
    )
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130)


def _draw_lanes(axes: "Axes", timelines: Sequence[Timeline]) -> None:
    longest = max(sum(stage.seconds for stage in timeline.stages) for timeline in timelines) * 1000
    y = 0.0
    for timeline in timelines:
        ratio = timeline.seconds / timelines[0].seconds
        compared = "" if timeline is timelines[0] else f"   {ratio:.1f} x as long"
        height, width = timeline.image_size
        title = f"{timeline.model}: {timeline.seconds * 1000:.0f} ms{compared}"
        about = f"input {width} x {height}, {timeline.num_objects:.0f} objects"
        axes.text(0, y - 0.12, title, weight="bold", color=_INK, fontsize=10.5)
        axes.text(longest, y - 0.12, about, color=_FAINT, ha="right", fontsize=9)
        starts, waiting = _starts(timeline.stages), _waiting(timeline)
        narrow, beside = [], 0.0
        for stage, start, waited in zip(timeline.stages, starts, waiting, strict=True):
            lane = y + _LANE if waited else y
            wide = stage.seconds * 1000 >= _NARROW * longest
            if waited:
                _outline(axes, _ready(timeline.stages, starts, stage), stage, lane)
                beside = (start + stage.seconds) * 1000 + 0.008 * longest
            _block(axes, start, stage, lane, _color(stage, waited=waited), named=wide)
            if not wide:
                narrow.append(f"{stage.name} {stage.seconds * 1000:.0f}")
        row = y + (_LANE * 1.5 if any(waiting) else _LANE + 0.16)
        axes.text(beside, row, ", ".join(narrow), color=_FAINT, fontsize=8.5, va="center")
        y += _LANE * (1 + any(_waiting(timeline))) + _GAP
    axes.set(ylim=(y - _GAP + 0.45, -0.55), xlim=(0, longest * 1.005))
    axes.set_yticks([])
    axes.set_xlabel(f"ms a picture, median, on {timelines[0].device}")
    axes.spines[["top", "right", "left"]].set_visible(False)


def _block(axes: "Axes", start: float, stage: Stage, y: float, color: str, *, named: bool) -> None:
    left, width, height = start * 1000, stage.seconds * 1000, _LANE - 0.08
    axes.barh(y, width, height, left, align="edge", color=color, edgecolor="white", linewidth=0.8)
    if named:
        middle = (left + width / 2, y + height / 2)
        text = f"{stage.name}\n{width:.0f}"
        axes.text(*middle, text, color="white", ha="center", va="center", fontsize=8)


def _outline(axes: "Axes", start: float, stage: Stage, y: float) -> None:
    axes.barh(
        y,
        stage.seconds * 1000,
        _LANE - 0.08,
        start * 1000,
        align="edge",
        fill=False,
        edgecolor=_BESIDE,
        linestyle=(0, (4, 3)),
    )


def _color(stage: Stage, *, waited: bool) -> str:
    if waited:
        return _BESIDE
    return _PER_OBJECT if stage.per_object else _IMAGE_WIDE


def _draw_growth(axes: "Axes", growth: Sequence[Growth]) -> None:
    for one, color in zip(growth, _LINES * len(growth), strict=False):
        slope = one.seconds_per_object
        text = "" if slope is None else f": {slope * 1000:+.2f} ms an object"
        milliseconds = [seconds * 1000 for seconds in one.seconds]
        axes.plot(one.objects, milliseconds, "-o", color=color, label=f"{one.model}{text}")
    highest = max(max(one.seconds) for one in growth) * 1000
    axes.set(ylim=(0, highest * 1.45), xlim=(0, None))
    axes.set(xlabel="objects in the picture", ylabel="ms a picture")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="upper left")


def _starts(stages: Sequence[Stage]) -> list[float]:
    """Seconds at which each stage began, one after the other."""
    ends = 0.0
    starts = []
    for stage in stages:
        starts.append(ends)
        ends += stage.seconds
    return starts


def _waiting(timeline: Timeline) -> list[bool]:
    """For each stage whether it needs nothing of the stage before it, and so waited for nothing."""
    stages = timeline.stages
    return [False] + [
        before.name not in stage.after and before.after == stage.after
        for before, stage in pairwise(stages)
    ]


def _ready(stages: Sequence[Stage], starts: Sequence[float], stage: Stage) -> float:
    """Seconds at which all that a stage needs was there."""
    return max(
        start + other.seconds
        for other, start in zip(stages, starts, strict=True)
        if other.name in stage.after
    )
