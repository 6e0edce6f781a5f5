import itertools
import json
import math
import re
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolact.reporting.charts import (
    NUM_COLOURS,
    Axis,
    Series,
    bar_chart,
    heat_map,
    line_chart,
    line_style,
    parallel_coordinates,
    thinned,
)

GAPS = st.one_of(st.none(), st.floats(-1e6, 1e6))


@given(st.lists(GAPS, max_size=200), st.integers(4, 60))
def test_thinning_keeps_ends_and_extremes(values, most):
    kept = thinned(values, most)
    assert len(kept) <= most or len(values) <= most
    assert kept == sorted(set(kept))
    if values:
        assert kept[0] == 0
        assert kept[-1] == len(values) - 1
    known = [value for value in values if value is not None]
    if known:
        shown = [values[place] for place in kept if values[place] is not None]
        assert (min(shown), max(shown)) == (min(known), max(known))


def test_a_line_chart_keeps_its_numbers():
    made = line_chart(
        "Loss",
        [Series("a", [1, 2], [3.0, None]), Series("b", [1], [4.0], style=9, other_x=[60.0])],
        "step",
        "loss",
        log=True,
    )
    first, second = made["data"]
    assert (first["x"], first["y"]) == ([1, 2], [3.0, None])
    assert first["line"]["color"] == "var(--series-1)"
    assert (second["line"]["color"], second["line"]["dash"]) == ("var(--series-2)", "dash")
    assert second["customdata"] == [60.0]
    assert made["layout"]["yaxis"]["type"] == "log"
    json.dumps(made, allow_nan=False)


def test_thirty_two_lines_look_different():
    looks = {(line_style(i)["color"], line_style(i)["dash"]) for i in range(32)}
    assert len(looks) == 32


def test_bars_and_cells_keep_their_numbers():
    bars = bar_chart("AP", [Series("mask", ["small", "large"], [0.1, 0.4])], "size", "AP")
    assert bars["data"][0]["y"] == [0.1, 0.4]
    cells = heat_map("Confusion", ["a", "b"], ["a", "b"], [[5, 1], [0, 7]], "found", "truth")
    assert cells["data"][0]["z"] == [[5, 1], [0, 7]]
    assert cells["layout"]["yaxis"]["autorange"] == "reversed"


def test_parallel_coordinates_place_numbers_names_and_nothing():
    made = parallel_coordinates(
        "Settings",
        [
            Axis("rate", [0.0001, 0.01, 0.001]),  # a factor of 100: logarithmic
            Axis("batch", [4, 8, None]),
            Axis("optimizer", ["sgd", "adamw", "sgd"]),
            Axis("same", [3, 3, 3]),
        ],
        ["x", "y", "z"],
    )
    heights = [trace["y"] for trace in made["data"]]
    assert heights[0] == pytest.approx([0.0, 0.0, 1.0, 0.0])
    assert heights[1] == pytest.approx([1.0, 1.0, 0.0, 0.0])
    assert heights[2] == pytest.approx([0.5, -0.1, 1.0, 0.0])
    assert made["data"][2]["text"][1] == "batch: none"
    assert made["table"]["rows"][2] == ["z", 0.001, None, "sgd", 3]


# Viénot, Brettel and Mollon (1999): linear RGB as people without red or green cones see it.
SIGHTS = {
    "normal": np.eye(3),
    "protanopia": np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]]),
    "deuteranopia": np.array(
        [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]
    ),
}


@pytest.mark.parametrize("scheme", [0, 1])
def test_colours_are_told_apart_and_seen_by_all(scheme):
    style = (files("yolact.reporting") / "assets" / "page.css").read_text()
    colours = [
        re.findall(rf"--series-{i}: (#\w+)", style)[scheme] for i in range(1, NUM_COLOURS + 1)
    ]
    ground = linear(re.findall(r"--ground: (#\w+)", style)[scheme])
    for colour in map(linear, colours):
        light, dark = sorted((luminance(colour), luminance(ground)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 3  # WCAG 1.4.11
    for name, sight in SIGHTS.items():
        seen = [lab(np.clip(sight @ linear(colour), 0, 1)) for colour in colours]
        for (i, one), (j, other) in itertools.combinations(enumerate(seen, 1), 2):
            assert math.dist(one, other) > 12, (name, i, j)


def linear(colour: str) -> np.ndarray:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    values = np.array([int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def luminance(values: np.ndarray) -> float:
    return float(values @ (0.2126, 0.7152, 0.0722))


def lab(values: np.ndarray) -> np.ndarray:
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    scaled = to_xyz @ values / (0.9505, 1.0, 1.089)
    f = np.where(scaled > 0.008856, np.cbrt(scaled), 7.787 * scaled + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])
