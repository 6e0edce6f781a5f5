"""``yolact report RUN RUN …``: runs beside each other."""

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

from yolact.config.serialize import flat
from yolact.reporting.charts import (
    CHART_SCRIPTS,
    Axis,
    Chart,
    Series,
    line_chart,
    line_style,
    parallel_coordinates,
    thinned,
)
from yolact.reporting.page import write_page
from yolact.reporting.run_record import RunRecord

_CURVES = {
    "mask-ap": ("mask/ap", "Mask AP", False),
    "box-ap": ("box/ap", "Box AP", False),
    "loss": ("loss/total", "Total loss", True),
}
_MEASURES = {
    "mask/ap": "mask AP",
    "mask/ap50": "AP50",
    "mask/ap75": "AP75",
    "mask/ap_small": "AP S",
    "mask/ap_medium": "AP M",
    "mask/ap_large": "AP L",
    "box/ap": "box AP",
}
_SURROUNDINGS = ("name", "parameters", "versions", "device", "platform", "data")
_MOST_POINTS = 300
_MOST_AXES = 10
_MOST_LETTERS = 60
_AXIS_WIDTH = 120  # pixels, below which the texts of neighbours would touch
_ABSENT = "-"


def write_comparison(records: Sequence[RunRecord], path: str | os.PathLike[str]) -> None:
    """Write the page that compares runs.

    Args:
        records: Two or more runs.
        path: Of the page, a single file.
    """
    names = _names(records)
    unit, seconds = _time_unit(records)
    charts = {
        place: _curves(records, names, key, title, log=log, seconds=seconds)
        for place, (key, title, log) in _CURVES.items()
    }
    settings = _differing([record.settings for record in records])
    if settings:
        charts["settings"] = _settings_chart(records, names, settings)
    surroundings = _differing([_surroundings(record) for record in records])
    write_page(
        "compare.html.j2",
        path,
        {
            "charts": charts,
            "axes": {"step": "step", "time": f"training time ({unit})"},
            "tables": {
                "best": {
                    "head": [*_MEASURES.values(), "its step", "seconds to it", "seconds"],
                    "best": [*(["high"] * len(_MEASURES)), None, None, None],
                    "rows": [_measures(record) for record in records],
                },
                "settings": _table(settings),
                "surroundings": _table(surroundings),
            },
            "names": names,
        },
        [*CHART_SCRIPTS, "compare.js"],
        charts=charts,
        runs=[{"name": name, **line_style(index)} for index, name in enumerate(names)],
        warnings=_warnings(records, names),
        has_settings=bool(settings),
        has_surroundings=bool(surroundings),
    )


def _names(records: Sequence[RunRecord]) -> list[str]:
    """What the page calls the runs: as little of their paths as tells them apart."""
    paths = [record.folder.resolve() for record in records]
    for length in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-length:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{path} ({index + 1})" for index, path in enumerate(paths)]


def _time_unit(records: Iterable[RunRecord]) -> tuple[str, float]:
    """The unit for the longest run, and its seconds."""
    longest = max((record.rows[-1]["seconds"] for record in records if record.rows), default=0.0)
    units = {"hours": 3600.0, "minutes": 60.0, "seconds": 1.0}
    return next((name, size) for name, size in units.items() if longest >= 3 * size or size == 1)


def _curves(
    records: Sequence[RunRecord],
    names: Sequence[str],
    key: str,
    title: str,
    *,
    log: bool,
    seconds: float,
) -> Chart:
    curves = []
    for style, (record, name) in enumerate(zip(records, names, strict=True)):
        steps, times, values = record.series(key)
        kept = thinned(values, _MOST_POINTS)
        curves.append(
            Series(
                name,
                [steps[place] for place in kept],
                [_rounded(values[place]) for place in kept],
                style=style,
                other_x=[_rounded(times[place] / seconds) for place in kept],
            )
        )
    return line_chart(title, curves, "step", title, log=log, legend=False)


def _settings_chart(
    records: Sequence[RunRecord], names: Sequence[str], settings: dict[str, list[Any]]
) -> Chart:
    axes = [
        Axis(name, [_coordinate(value) for value in values])
        for name, values in list(settings.items())[:_MOST_AXES]
    ]
    best = [_rounded(record.best["mask/ap"]) if record.best else None for record in records]
    left_out = len(settings) - len(axes)
    caption = "From the settings that differ to the best mask AP, on the right."
    if left_out:
        caption += f" {left_out} more settings differ; the table has them."
    return parallel_coordinates(
        "Settings and what came of them",
        [*axes, Axis("best mask AP", best)],
        names,
        caption=caption,
        axis_width=_AXIS_WIDTH,
    )


def _differing(records: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """The keys whose values are not the same everywhere, with the value of each record."""
    keys = dict.fromkeys(key for record in records for key in record)
    values = {key: [record.get(key, _ABSENT) for record in records] for key in keys}
    return {
        key: row
        for key, row in values.items()
        if len({json.dumps(v, default=str) for v in row}) > 1
    }


def _surroundings(record: RunRecord) -> dict[str, Any]:
    """What beside its settings can make a run differ, flat; fingerprints as their first letters."""
    values = flat({key: record.about.get(key, _ABSENT) for key in _SURROUNDINGS})
    return {
        key: value[:12] if key.endswith(".fingerprint") else value for key, value in values.items()
    }


def _measures(record: RunRecord) -> list[float | None]:
    last = record.rows[-1]["seconds"] if record.rows else None
    best = record.best
    if best is None:
        return [*([None] * (len(_MEASURES) + 2)), last]
    return [*(_rounded(best.get(key)) for key in _MEASURES), best["step"], best["seconds"], last]


def _table(columns: dict[str, list[Any]]) -> dict[str, Any]:
    return {
        "head": list(columns),
        "best": [None] * len(columns),
        "rows": [[_cell(value) for value in row] for row in zip(*columns.values(), strict=True)],
    }


def _warnings(records: Sequence[RunRecord], names: Sequence[str]) -> list[str]:
    """Why APs of these runs may not be put beside each other."""
    groups: dict[str | None, list[str]] = {}
    for record, name in zip(records, names, strict=True):
        data = record.about.get("data")
        val = data.get("val") if isinstance(data, dict) else None
        groups.setdefault(val.get("fingerprint") if isinstance(val, dict) else None, []).append(
            name
        )
    unknown = groups.pop(None, [])
    warnings = []
    if len(groups) > 1:
        who = "; ".join(", ".join(group) for group in groups.values())
        warnings.append(
            "These runs were not validated on the same data, so the APs of one group cannot be "
            f"compared with those of another: {who}."
        )
    if unknown and groups:
        warnings.append(
            f"What data they were validated on is not recorded for {', '.join(unknown)}."
        )
    return warnings


def _coordinate(value: Any) -> float | str | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return None if value is None or value == _ABSENT else str(_cell(value))


def _cell(value: Any) -> float | str:
    """A setting as a number, or as a text that fits a table."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return value
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    text = "none" if value is None else text
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}…"


def _rounded(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value
