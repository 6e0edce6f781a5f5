"""Training curves as one picture: every loss term and AP of a run, or several runs compared."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolact.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_curves(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the curves of a ``metrics.jsonl`` as a PNG.

    Args:
        rows: Its events: losses under ``loss/…``, validation under ``mask/…`` and ``box/…``.
        path: The picture's file, written whole.
    """
    figure, losses, precision = _panels()
    terms = dict.fromkeys(key for row in rows for key in row if key.startswith("loss/"))
    for term in terms:
        steps, values = _series(rows, term)
        width = 2.2 if term == "loss/total" else 1.2
        losses.plot(steps, values, label=term.removeprefix("loss/"), linewidth=width)
    for key in ("mask/ap50", "mask/ap", "box/ap50", "box/ap"):
        steps, values = _series(rows, key)
        style = "-" if key.startswith("mask") else "--"
        precision.plot(steps, values, style, marker="o", label=key.replace("/ap", " AP"))
    precision.set(ylim=(0, 1))
    _save(figure, path)


def draw_comparison(runs: Mapping[str, Sequence[dict[str, Any]]], path: Path) -> None:
    """Write the whole loss and the mask AP of several runs as a PNG.

    Args:
        runs: Events as for :func:`draw_curves`, by the name that the legend gives the run.
        path: The picture's file, written whole.
    """
    figure, losses, precision = _panels()
    for number, (name, rows) in enumerate(runs.items()):
        color = f"C{number}"
        losses.plot(*_series(rows, "loss/total"), color=color, label=name)
        for key, style in (("mask/ap50", "--"), ("mask/ap", "-")):
            label = f"{name}: {key.replace('/ap', ' AP')}"
            precision.plot(*_series(rows, key), style, color=color, marker="o", label=label)
    precision.set(ylim=(0, None))
    _save(figure, path)


def _panels() -> tuple["Figure", "Axes", "Axes"]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    FigureCanvasAgg(figure)
    losses, precision = figure.subplots(1, 2)
    losses.set(title="Losses", xlabel="step", yscale="log")
    precision.set(title="Average precision on pictures held out", xlabel="step")
    return figure, losses, precision


def _save(figure: "Figure", path: Path) -> None:
    for axes in figure.get_axes():
        axes.grid(alpha=0.3)
        if axes.get_lines():
            axes.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _series(rows: Sequence[dict[str, Any]], key: str) -> tuple[list[float], list[float]]:
    points = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
    return [step for step, _ in points], [value for _, value in points]
