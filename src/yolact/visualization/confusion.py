"""A confusion matrix as a picture."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOST_NUMBERS = 40  # rows; of more nobody reads the counts


def draw_confusion(
    counts: NDArray[np.int64], rows: Sequence[str], columns: Sequence[str]
) -> NDArray[np.uint8]:
    """Draw true classes against found ones.

    A cell's colour is its share of the row, its number the count, left out where it is 0.

    Args:
        counts: (R, C).
        rows: R names, of what is there.
        columns: C names, of what was found.

    Returns:
        (H, W, 3) RGB.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(
        figsize=(2.5 + 0.4 * len(columns), 2 + 0.4 * len(rows)), dpi=80, layout="constrained"
    )
    canvas: Any = FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(columns)), columns, rotation=90)
    axes.set_yticks(range(len(rows)), rows)
    axes.set(xlabel="found", ylabel="there")
    if len(rows) <= _MOST_NUMBERS:
        for row, column in np.argwhere(counts):
            ink = "white" if shares[row, column] > 0.5 else "black"
            number = str(counts[row, column])
            axes.text(column, row, number, color=ink, ha="center", va="center", fontsize=8)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
