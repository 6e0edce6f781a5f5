"""Charts of the pages: figures for Plotly as plain dicts, drawn by ``assets/charts.js``.

A page gives ``{"charts": {name: chart}}`` as data and places each with the macro of
``charts.html.j2``. A colour is written as the page's own CSS variable, ``var(--series-3)``; the script
puts in what that is in the reader's scheme, light or dark. The table under a chart is made by the script
from the same numbers.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Chart = dict[str, Any]
"""``title``, ``caption``, Plotly's ``data`` and ``layout``, ``table`` if the figure's own numbers are not
those to be read, ``min_width`` in pixels. JSON types only."""

CHART_SCRIPTS = ("plotly.min.js", "charts.js")
"""What a page with charts names first among its scripts."""

NUM_COLOURS = 8
"""``--series-1`` … ``--series-8`` of ``page.css``: told apart by all kinds of sight."""
_DASHES = ("solid", "dash", "dot", "dashdot")
_LOG_FROM = 20.0


@dataclass(frozen=True)
class Series:
    """One curve, or one set of bars."""

    name: str
    x: Sequence[float | str]
    y: Sequence[float | None]
    """As many as ``x``; None leaves a gap."""
    style: int | None = None
    """Which colour and dash; by default its place among the series. Beyond the colours come dashes."""
    other_x: Sequence[float] | None = None
    """Another x for each point, which the page's script may choose instead."""


@dataclass(frozen=True)
class Axis:
    """One axis of parallel coordinates: numbers, or names of categories, and None for neither."""

    name: str
    values: Sequence[float | str | None]
    """One for each line."""


def chart(
    title: str,
    data: Sequence[Mapping[str, Any]],
    layout: Mapping[str, Any],
    *,
    caption: str = "",
    table: Mapping[str, Any] | None = None,
) -> Chart:
    """Any figure of Plotly.

    Args:
        title: What it shows, a few words; also what a screen reader says.
        data: Traces.
        layout: What differs from the layout all charts share.
        caption: How to read it.
        table: ``{"head": [texts], "rows": [[texts or numbers]]}``, in place of the traces' numbers.
    """
    return {
        "title": title,
        "caption": caption,
        "data": list(data),
        "layout": dict(layout),
        "min_width": 0,
        **({"table": dict(table)} if table else {}),
    }


def line_chart(
    title: str,
    series: Sequence[Series],
    x_title: str,
    y_title: str,
    *,
    caption: str = "",
    log: bool = False,
    legend: bool = True,
) -> Chart:
    """Curves with points.

    Args:
        title: As of :func:`chart`.
        series: The curves.
        x_title: Below the horizontal axis, with its unit.
        y_title: Beside the vertical axis, with its unit.
        caption: As of :func:`chart`.
        log: Whether the vertical axis is logarithmic.
        legend: Whether the chart names its curves itself.
    """
    data = [
        {
            "type": "scatter",
            "mode": "lines" if len(one.x) > 40 else "lines+markers",
            "name": one.name,
            "x": list(one.x),
            "y": list(one.y),
            **({} if one.other_x is None else {"customdata": list(one.other_x)}),
            "line": line_style(index if one.style is None else one.style),
            "marker": {"size": 5},
            "connectgaps": True,
        }
        for index, one in enumerate(series)
    ]
    layout = {**_axes(x_title, y_title, log), "showlegend": legend and len(series) > 1}
    return chart(title, data, layout, caption=caption)


def bar_chart(
    title: str,
    series: Sequence[Series],
    x_title: str,
    y_title: str,
    *,
    caption: str = "",
    stacked: bool = False,
) -> Chart:
    """Bars of several series beside each other, or on top of each other. Arguments as of ``line_chart``."""
    data = [
        {
            "type": "bar",
            "name": one.name,
            "x": list(one.x),
            "y": list(one.y),
            "marker": {"color": colour(index if one.style is None else one.style)},
        }
        for index, one in enumerate(series)
    ]
    layout = {**_axes(x_title, y_title, False), "barmode": "stack" if stacked else "group"}
    return chart(title, data, layout, caption=caption)


def heat_map(
    title: str,
    columns: Sequence[str],
    rows: Sequence[str],
    values: Sequence[Sequence[float | None]],
    x_title: str,
    y_title: str,
    *,
    caption: str = "",
    texts: Sequence[Sequence[str]] | None = None,
) -> Chart:
    """A field of cells, the more the stronger; the first row is on top.

    Args:
        title: As of :func:`chart`.
        columns: Names from left to right.
        rows: Names from top to bottom.
        values: One list for each row.
        x_title: What the columns are.
        y_title: What the rows are.
        caption: As of :func:`chart`.
        texts: Written into the cells; nothing by default.
    """
    trace = {
        "type": "heatmap",
        "x": list(columns),
        "y": list(rows),
        "z": [list(row) for row in values],
        "colorscale": [[0, "var(--panel)"], [1, "var(--series-1)"]],
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
        "hovertemplate": f"{y_title}: %{{y}}<br>{x_title}: %{{x}}<br>%{{z}}<extra></extra>",
        **(
            {}
            if texts is None
            else {"text": [list(row) for row in texts], "texttemplate": "%{text}"}
        ),
    }
    layout = {
        "xaxis": {"title": {"text": x_title}, "type": "category", "showgrid": False},
        "yaxis": {
            "title": {"text": y_title},
            "type": "category",
            "showgrid": False,
            "autorange": "reversed",
        },
    }
    return chart(title, [trace], layout, caption=caption)


def parallel_coordinates(
    title: str,
    axes: Sequence[Axis],
    lines: Sequence[str],
    *,
    caption: str = "",
    axis_width: int = 0,
) -> Chart:
    """A line for each thing across vertical axes, each from its own least value to its greatest.

    Numbers that span more than a factor of twenty lie on a logarithmic axis.

    Args:
        title: As of :func:`chart`.
        axes: From left to right.
        lines: Names of the lines.
        caption: As of :func:`chart`.
        axis_width: The least room of an axis in pixels; where a screen has less, the chart scrolls.
    """
    heights, marks = zip(*(_places(axis.values) for axis in axes), strict=True)
    data = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": name,
            "x": list(range(len(axes))),
            "y": [places[index] for places in heights],
            "text": [f"{axis.name}: {_text(axis.values[index])}" for axis in axes],
            "hovertemplate": "%{text}<extra>%{fullData.name}</extra>",
            "line": line_style(index),
            "marker": {"size": 7},
        }
        for index, name in enumerate(lines)
    ]
    annotations = [
        {
            "x": place,
            "y": height,
            "text": text,
            "showarrow": False,
            "xanchor": "left",
            "xshift": 6,
            "bgcolor": "var(--ground)",
            "opacity": 0.85,
            "font": {"size": 11},
        }
        for place, texts in enumerate(marks)
        for text, height in texts.items()
    ]
    layout = {
        "xaxis": {
            "tickvals": list(range(len(axes))),
            "ticktext": [axis.name.replace(".", ".<br>") for axis in axes],
            "range": [-0.1, len(axes) - 0.5],
            "zeroline": False,
        },
        "yaxis": {"visible": False, "range": [-0.15, 1.08]},
        "annotations": annotations,
        "showlegend": False,
    }
    table = {
        "head": ["", *(axis.name for axis in axes)],
        "rows": [
            [name, *(axis.values[index] for axis in axes)] for index, name in enumerate(lines)
        ],
    }
    made = chart(title, data, layout, caption=caption, table=table)
    return {**made, "min_width": axis_width * len(axes)}


def thinned(values: Sequence[float | None], most: int) -> list[int]:
    """Places of at most ``most`` values that a curve still looks the same with.

    The first and the last stay, and of each stretch in between the least and the greatest.

    Args:
        values: Of a curve, in order; None is a gap.
        most: At least 4.
    """
    count = len(values)
    if count <= most:
        return list(range(count))
    stretches = (most - 2) // 2
    kept = {0, count - 1}
    for stretch in range(stretches):
        first = 1 + stretch * (count - 2) // stretches
        last = 1 + (stretch + 1) * (count - 2) // stretches
        known = [
            (value, place) for place in range(first, last) if (value := values[place]) is not None
        ]
        kept |= {place for _, place in (min(known), max(known))} if known else {first}
    return sorted(kept)


def colour(style: int) -> str:
    """The colour of a style, as a variable of the page."""
    return f"var(--series-{style % NUM_COLOURS + 1})"


def line_style(style: int) -> dict[str, Any]:
    """Colour and dash: all colours with a solid line, then all dashed, and so on."""
    return {
        "color": colour(style),
        "dash": _DASHES[style // NUM_COLOURS % len(_DASHES)],
        "width": 2,
    }


def _axes(x_title: str, y_title: str, log: bool) -> dict[str, Any]:
    return {
        "xaxis": {"title": {"text": x_title}},
        "yaxis": {"title": {"text": y_title}, **({"type": "log"} if log else {})},
    }


def _places(
    values: Sequence[float | str | None],
) -> tuple[list[float], dict[str, float]]:
    """Heights in [0, 1] of an axis' values, and the texts that stand beside it; None lies below 0."""
    known = [value for value in values if value is not None]
    numbers = [value for value in known if isinstance(value, int | float)]
    marks: dict[str, float] = {} if len(known) == len(values) else {_text(None): -0.1}
    if len(numbers) < len(known) or not known:
        names = sorted({str(value) for value in known})
        heights = {name: index / max(len(names) - 1, 1) for index, name in enumerate(names)}
        places = [-0.1 if value is None else heights[str(value)] for value in values]
        return places, {**heights, **marks}
    low, high = min(numbers), max(numbers)
    scale = math.log if low > 0 and high / low > _LOG_FROM else float
    span = scale(high) - scale(low) or 1.0
    places = [
        (scale(value) - scale(low)) / span if isinstance(value, int | float) else -0.1
        for value in values
    ]
    return places, {_text(low): 0.0, _text(high): (scale(high) - scale(low)) / span, **marks}


def _text(value: float | str | None) -> str:
    if value is None:
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
