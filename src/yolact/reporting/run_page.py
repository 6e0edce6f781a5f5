"""``yolact report RUN``: the page of one run."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from yolact.artifacts.run_directory import REPORT
from yolact.inference.load import load
from yolact.inference.timing.timed_predictor import measure
from yolact.inference.timing.timeline import Stage, Timeline
from yolact.reporting.charts import (
    CHART_SCRIPTS,
    NUM_COLOURS,
    Chart,
    Series,
    bar_chart,
    heat_map,
    line_chart,
    thinned,
)
from yolact.reporting.page import write_page
from yolact.reporting.run_record import RunRecord, read_run
from yolact.reporting.scene import picture_from

MOST_STEPS = 100
"""Recorded steps in a page; of more, evenly spread ones."""
_MOST_POINTS = 600
_MOST_CELL_TEXTS = 25
_MOST_LEGEND = 12
_LEVELS = ("P3", "P4", "P5", "P6", "P7")
_SIZES = ("small", "medium", "large")
_SHAPES = ("mask", "box")


def write_report(
    run: str | os.PathLike[str],
    path: str | os.PathLike[str] | None = None,
    *,
    timeline: Timeline | None = None,
) -> Path:
    """Write the page that shows how a run learnt.

    Args:
        run: The run directory, finished or not.
        path: Of the page, a single file; ``report.html`` in the run directory by default.
        timeline: Where the model's time goes, if it was measured.

    Returns:
        Where the page is.

    Raises:
        UsageError: If ``run`` holds no run.
    """
    record = read_run(Path(run))
    page = record.folder / REPORT if path is None else Path(path)
    snapshots = _snapshots(record)
    shown = [snapshots[place] for place in spread(len(snapshots), MOST_STEPS)]
    sections = [*_curves(record), *_sizes_and_classes(record, snapshots), *_analysis(record)]
    charts = {
        f"chart{place}.{index}": each
        for place, (_, _, members) in enumerate(sections)
        for index, each in enumerate(members)
    }
    analysis = record.analysis or {}
    write_page(
        "run.html.j2",
        page,
        {
            "charts": charts,
            "marked": [
                name
                for name, each in charts.items()
                if each["layout"]["xaxis"]["title"]["text"] == "step"
            ],
            "pictures": list(record.pictures),
            "steps": _steps(record, shown),
        },
        [*CHART_SCRIPTS, "viewer.js", "run.js"],
        name=record.name,
        summary=_summary(record),
        num_steps=len(shown),
        num_left_out=len(snapshots) - len(shown),
        pictures=[picture["name"] for picture in record.pictures],
        charts=charts,
        chart_sections=[
            (title, sentence, [f"chart{place}.{index}" for index in range(len(members))])
            for place, (title, sentence, members) in enumerate(sections)
        ],
        analysed=bool(analysis),
        worst=analysis.get("worst", []),
        timeline=None if timeline is None else _lanes(timeline),
        data_rows=_data_rows(record.about.get("data", {})),
        versions=_versions(record.about),
        settings=[(name, _setting(value)) for name, value in record.settings.items()],
    )
    return page


def best_timeline(record: RunRecord, *, device: str = "auto", repeats: int = 10) -> Timeline | None:
    """Where the time of a run's best model goes, on the pictures that were watched; None without any.

    Args:
        record: The run.
        device: To measure on.
        repeats: Of each picture.

    Raises:
        YolactError: If there is no best model yet, or it or a picture cannot be read.
    """
    views = [picture_from(picture["view"]) for picture in record.pictures]
    if not views:
        return None
    model = load(record.folder, device=device)
    return measure(model, views, repeats=repeats, name=record.name)


def spread(count: int, most: int) -> list[int]:
    """Places of at most ``most`` (2 or more) of ``count`` things, evenly, with the first and the last."""
    if count <= most:
        return list(range(count))
    return [round(index * (count - 1) / (most - 1)) for index in range(most)]


def _snapshots(record: RunRecord) -> list[dict[str, Any]]:
    """All recorded steps, without the pictures that never change."""
    if not record.pictures:
        return []
    snapshots = [json.loads(path.read_text(encoding="utf-8")) for path in record.snapshots]
    for snapshot in snapshots:
        for scene in snapshot["scenes"]:
            scene.pop("view", None)
            scene.pop("overlay", None)
    return snapshots


def _steps(record: RunRecord, snapshots: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the page shows of each step beside the scenes: numbers as texts, bars as shares of a width."""
    rows = [_row_of(record, snapshot["step"]) for snapshot in snapshots]
    most_matched = (
        max((row.get(f"matched/{p}") or 0 for row in rows for p in _LEVELS), default=0) or 1
    )
    most_negative = (
        max((share for s in snapshots for share in s["negatives"].values()), default=0) or 1
    )
    return [
        {
            "step": snapshot["step"],
            "time": duration(snapshot["seconds"]),
            "numbers": _numbers(record, snapshot, row),
            "alive": [_alive(scene["roles"]) for scene in snapshot["scenes"]],
            "matched": [
                (level, value / most_matched, f"{value:.2f}")
                for level in _LEVELS
                if (value := row.get(f"matched/{level}")) is not None
            ],
            "negatives": [
                (name, share / most_negative, f"{share:.1%}")
                for name, share in snapshot["negatives"].items()
            ],
            "scenes": snapshot["scenes"],
        }
        for snapshot, row in zip(snapshots, rows, strict=True)
    ]


def _row_of(record: RunRecord, step: int) -> dict[str, Any]:
    """The row whose mean covers a step: the first that ends there or later, else the last."""
    rows = [row for row in record.rows if "loss/total" in row]
    return next((row for row in rows if row["step"] >= step), rows[-1] if rows else {})


def _numbers(
    record: RunRecord, snapshot: Mapping[str, Any], row: Mapping[str, Any]
) -> list[tuple[str, str]]:
    numbers = [
        (label, _short(row[key]))
        for key, label in (
            *(
                (key, f"Loss, {key.removeprefix('loss/')}")
                for key in row
                if key.startswith("loss/")
            ),
            ("learning_rate", "Learning rate"),
            ("gradient_norm", "Gradient norm"),
        )
        if key in row
    ]
    if row:
        numbers.append(("These are means up to step", str(row["step"])))
    validated = [each for each in record.validations if each["step"] <= snapshot["step"]]
    if not validated:
        return numbers
    last = validated[-1]
    for shape in _SHAPES:
        values = [_short(last.get(f"{shape}/{key}")) for key in ("ap", "ap50", "ap75")]
        numbers.append((f"{shape.capitalize()} AP, AP50, AP75", " · ".join(values)))
    return [*numbers, ("AP was measured at step", str(last["step"]))]


def _alive(roles: Sequence[Mapping[str, Any]]) -> str:
    return f"{sum(role['kind'] != 'dead' for role in roles)} of {len(roles)}"


Section = tuple[str, str, list[Chart]]
"""Title, what it tells, charts."""


def _curves(record: RunRecord) -> Iterable[Section]:
    losses = sorted({key for row in record.rows for key in row if key.startswith("loss/")})
    charts = [
        _over_steps(
            record, "Losses", {key: key.removeprefix("loss/") for key in losses}, "loss", log=True
        ),
        _over_steps(
            record,
            "AP",
            {
                f"{shape}/{key}": f"{shape} {label}"
                for shape in _SHAPES
                for key, label in (("ap", "AP"), ("ap50", "AP50"), ("ap75", "AP75"))
            },
            "AP",
            dashed="box",
        ),
        _over_steps(record, "Learning rate", {"learning_rate": "learning rate"}, "learning rate"),
        _over_steps(
            record, "Gradient norm", {"gradient_norm": "gradient norm"}, "before clipping", log=True
        ),
        _over_steps(
            record,
            "Matched anchors",
            {f"matched/{level}": level for level in _LEVELS},
            "per picture",
        ),
    ]
    drawn = [each for each in charts if each is not None]
    if drawn:
        yield (
            "Curves",
            "The vertical line is where the slider stands." if record.snapshots else "",
            drawn,
        )


def _over_steps(
    record: RunRecord,
    title: str,
    keys: Mapping[str, str],
    y_title: str,
    *,
    log: bool = False,
    dashed: str | None = None,
) -> Chart | None:
    """Curves of some keys of the log; None if it has none of them.

    The second half of the keys, those that begin with ``dashed``, have the first half's colours.
    """
    series = []
    for place, (key, name) in enumerate(keys.items()):
        steps, _, values = record.series(key)
        kept = [index for index in thinned(values, _MOST_POINTS) if values[index] is not None]
        style = place
        if dashed is not None and key.startswith(dashed):
            style = place - len(keys) // 2 + NUM_COLOURS
        if kept:
            series.append(Series(name, [steps[i] for i in kept], [values[i] for i in kept], style))
    return line_chart(title, series, "step", y_title, log=log) if series else None


def _sizes_and_classes(
    record: RunRecord, snapshots: Sequence[Mapping[str, Any]]
) -> Iterable[Section]:
    charts = []
    sizes = _over_steps(
        record,
        "AP by object size",
        {f"{shape}/ap_{size}": f"{shape}, {size}" for shape in _SHAPES for size in _SIZES},
        "AP",
        dashed="box",
    )
    if sizes is not None:
        charts.append(sizes)
    fates = (record.analysis or {}).get("counts_by_size")
    if fates:
        charts.append(
            bar_chart(
                "What became of the objects",
                [
                    Series(fate, _SIZES, [fates[size][fate] for size in _SIZES])
                    for fate in fates["small"]
                    if fate != "objects"
                ],
                "size",
                "objects",
                stacked=True,
            )
        )
    validated = [each for each in snapshots if each["metrics"]]
    if validated:
        best = max(validated, key=lambda each: each["metrics"]["mask"]["ap"] or 0)
        classes = best["metrics"]["per_class"]
        charts.append(
            bar_chart(
                f"AP by class, step {best['step']}",
                [
                    Series(shape, list(classes), [each[shape]["ap"] for each in classes.values()])
                    for shape in _SHAPES
                ],
                "class",
                "AP",
            )
        )
    if charts:
        sentence = "Small is below 32² pixels of the picture, large above 96²."
        yield "By size and class", sentence, charts


def _analysis(record: RunRecord) -> Iterable[Section]:
    analysis = record.analysis
    if analysis is None:
        return
    yield (
        "Precision and recall",
        f"At the best validation, step {analysis['step']}: how many detections are right, once a share "
        "of the objects is found.",
        [
            _precision(f"{shape.capitalize()}, IoU {iou}", curves)
            for shape, by_iou in analysis["precision"].items()
            for iou, curves in by_iou.items()
        ],
    )
    names = list(analysis["classes"])
    counts = analysis["confusion"]
    confusions = heat_map(
        "Confusion matrix",
        [*names, "nothing found"],
        [*names, "nothing there"],
        counts,
        "found",
        "truth",
        texts=[[str(n) if n else "" for n in row] for row in counts]
        if len(names) < _MOST_CELL_TEXTS
        else None,
    )
    confusions["layout"]["height"] = max(384, 80 + 18 * len(counts))
    yield (
        "What is taken for what",
        f"Objects and detections with a score above {analysis['score']}, paired where their masks "
        f"overlap with an IoU of {analysis['iou']} or more.",
        [confusions],
    )


def _precision(title: str, curves: Mapping[str, Sequence[float] | None]) -> Chart:
    recall = [place / 100 for place in range(101)]
    names = ["all", *(name for name in curves if name != "all")]
    series = [Series(name, recall, values) for name in names if (values := curves.get(name))]
    drawn = line_chart(title, series, "recall", "precision")
    drawn["layout"]["showlegend"] = len(series) <= _MOST_LEGEND
    for trace in drawn["data"]:
        trace["line"]["width"] = 4 if trace["name"] == "all" else 1.5
    return drawn


def _lanes(timeline: Timeline) -> dict[str, Any]:
    """Each stage at the earliest time at which all that it needs is there."""
    ends: dict[str, float] = {}
    spans: list[tuple[Stage, float, float]] = []
    for stage in timeline.stages:
        start = max((ends.get(name, 0.0) for name in stage.after), default=0.0)
        ends[stage.name] = start + stage.seconds
        spans.append((stage, start, ends[stage.name]))
    whole = max(ends.values(), default=0.0) or 1.0

    def beside(span: tuple[Stage, float, float]) -> bool:
        return any(
            other is not span and other[1] < span[2] and span[1] < other[2] for other in spans
        )

    together = [span[0].name for span in spans if beside(span)]
    in_a_row = sum(stage.seconds for stage in timeline.stages)
    again = [stage.name for stage in timeline.stages if stage.per_object]
    height, width = timeline.image_size
    order = f"This machine ran the stages one after the other, {_ms(in_a_row)} ms in a row."
    if together:
        order += (
            f" {_listed(together).capitalize()} do not need each other; side by side, "
            f"as drawn here, the whole would take {_ms(whole)} ms."
        )
    return {
        "summary": f"{timeline.model} on {timeline.device}: {_ms(timeline.seconds)} ms a picture at "
        f"{width} x {height}, median of {timeline.num_repeats} repeats over {timeline.num_pictures} "
        f"pictures with {timeline.num_objects:.1f} objects found in each.",
        "order": order,
        "per_object": f"Done again for each object: {_listed(again)}."
        if again
        else "No stage works again for each object on the picture's features. Only the small matrix "
        "product that makes the masks, coefficients times prototypes, grows with their number.",
        "lanes": [
            {
                "name": span[0].name,
                "left": round(100 * span[1] / whole, 3),
                "width": round(100 * (span[2] - span[1]) / whole, 3),
                "start": _ms(span[1]),
                "end": _ms(span[2]),
                "time": _ms(span[0].seconds),
                "p95": _ms(span[0].p95),
                "beside": beside(span),
            }
            for span in spans
        ],
    }


def _summary(record: RunRecord) -> list[tuple[str, str]]:
    """The header: whatever is known."""
    about, best = record.about, record.best
    last = record.rows[-1] if record.rows else None
    data = about.get("data", {})
    size = about.get("image_size") or record.settings.get("model.image_size")
    facts = [
        ("Best mask AP", best and f"{best['mask/ap']:.3f} (step {best['step']})"),
        ("Steps", last and str(last["step"])),
        ("Time", last and duration(last["seconds"])),
        ("Model", about.get("name")),
        ("Parameters", about.get("parameters") and f"{about['parameters']:,}"),
        ("Image size", size and f"{size[1]} x {size[0]}"),
        *(
            (f"{split.capitalize()} data", f"{part['images']} pictures, {part['objects']} objects")
            for split, part in data.items()
            if part
        ),
    ]
    return [(label, value) for label, value in facts if value]


def _data_rows(data: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    return [
        (f"{split}, {name}", str(value))
        for split, part in data.items()
        for name, value in (part or {}).items()
    ]


def _versions(about: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [*about.get("versions", {}).items()]
    rows += [(name, about[name]) for name in ("device", "platform") if name in about]
    rows += (about.get("provenance") or {}).items()
    return [(name, _setting(value)) for name, value in rows]


def duration(seconds: float) -> str:
    """Time as people say it, in two units at most."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f}"


def _short(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"


def _setting(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
