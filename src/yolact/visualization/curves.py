"""Training curves as one picture: every loss term, the learning rate, and AP, over steps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yolact.files import replacing


def draw_curves(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the curves of a ``metrics.jsonl`` as a PNG.

    Args:
        rows: Its events: losses under ``loss/…``, validation under ``mask/…`` and ``box/…``.
        path: The picture's file, written whole.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    FigureCanvasAgg(figure)
    losses, precision = figure.subplots(1, 2)
    terms = dict.fromkeys(key for row in rows for key in row if key.startswith("loss/"))
    for term in terms:
        steps, values = _series(rows, term)
        width = 2.2 if term == "loss/total" else 1.2
        losses.plot(steps, values, label=term.removeprefix("loss/"), linewidth=width)
    losses.set(title="Losses", xlabel="step", yscale="log")
    for key in ("mask/ap50", "mask/ap", "box/ap50", "box/ap"):
        steps, values = _series(rows, key)
        style = "-" if key.startswith("mask") else "--"
        precision.plot(steps, values, style, marker="o", label=key.replace("/ap", " AP"))
    precision.set(title="Average precision on pictures held out", xlabel="step", ylim=(0, 1))
    for axes in (losses, precision):
        axes.grid(alpha=0.3)
        if axes.get_lines():
            axes.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _series(rows: Sequence[dict[str, Any]], key: str) -> tuple[list[float], list[float]]:
    points = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
    return [step for step, _ in points], [value for _, value in points]
