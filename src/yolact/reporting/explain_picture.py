"""``yolact explain --out FILE.png``: the same as the page, for the best objects, as one picture."""

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from yolact.files import replacing
from yolact.inference.explanation import Explanation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_OBJECTS = 6
_MOST_CONTRIBUTIONS = 5


def draw_explanation(explanation: Explanation, path: str | os.PathLike[str]) -> None:
    """Write a picture: the detections, all prototypes, and a row for each of the best objects.

    A row shows the largest contributions inside the box, their sum with all others, and the mask
    before and after the crop.

    Args:
        explanation: From :func:`yolact.inference.explanation.explain`.
        path: Of the PNG, written whole.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = explanation.detections
    rows = min(len(found), _MOST_OBJECTS)
    count = len(found.prototypes)
    columns = _MOST_CONTRIBUTIONS + 3
    atlas_rows = -(-count // (columns * 2 - 4))
    figure = Figure(
        figsize=(1.6 * columns, 1.8 * (rows + 0.9 * atlas_rows + 0.3)), layout="constrained"
    )
    FigureCanvasAgg(figure)
    top, *below = figure.subfigures(
        2 if rows else 1,
        1,
        height_ratios=[0.9 * atlas_rows + 0.3, rows] if rows else None,
        squeeze=False,
    )[:, 0]
    picture, atlas = top.subfigures(1, 2, width_ratios=[2, columns - 2])
    axes = picture.subplots()
    _show(axes, explanation.result.plot(), "")
    grid = atlas.subplots(atlas_rows, columns * 2 - 4, squeeze=False).ravel()
    for place, cell in enumerate(grid):
        cell.set_axis_off()
        if place < count:
            _show(cell, found.prototypes[place].numpy(), str(place + 1), cmap="gray")
    if not rows:
        _save(figure, path)
        return
    for index, line in enumerate(below[0].subplots(rows, columns, squeeze=False)):
        _draw_object(explanation, index, line)
    _save(figure, path)


def _draw_object(explanation: Explanation, index: int, line: "np.ndarray[Any, Any]") -> None:
    found = explanation.detections
    contributions = explanation.contributions(index)
    order = explanation.strongest(index)[:_MOST_CONTRIBUTIONS]
    limit = float(contributions.abs().max()) or 1.0
    for cell, k in zip(line, order, strict=False):
        text = f"{k + 1}: {float(found.coefficients[index, k]):.2f}"
        _show(cell, contributions[k].numpy(), text, cmap="PuOr_r", limit=limit)
    for cell in line[len(order) : _MOST_CONTRIBUTIONS]:
        cell.set_axis_off()
    logits = explanation.logits(index)
    _show(
        line[-3],
        logits.numpy(),
        "sum of all",
        cmap="PuOr_r",
        limit=float(logits.abs().max()) or 1.0,
    )
    _show(
        line[-2], explanation.soft_masks[index].numpy(), "sigmoid", cmap="gray", limit=1.0, low=0.0
    )
    name = explanation.result.names[int(found.labels[index])]
    title = f"{name} {float(found.scores[index]):.2f}"
    _show(
        line[-1], explanation.cropped_masks[index].numpy(), title, cmap="gray", limit=1.0, low=0.0
    )


def _show(
    axes: "Axes",
    values: "np.ndarray[Any, Any]",
    title: str,
    *,
    cmap: str | None = None,
    limit: float | None = None,
    low: float | None = None,
) -> None:
    least = low if low is not None or limit is None else -limit
    axes.imshow(values, cmap=cmap, vmin=least, vmax=limit)
    axes.set_title(title, fontsize=8)
    axes.set_axis_off()


def _save(figure: Any, path: str | os.PathLike[str]) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)
