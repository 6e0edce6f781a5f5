"""What was compared, as tables of text: rows under a header."""

from collections.abc import Callable, Mapping, Sequence

from yolact.evaluation.coco import Metrics
from yolact.inference.timing.comparison import Column, Comparison
from yolact.inference.timing.timeline import DRAW, Growth, Timeline

Rows = list[tuple[str, ...]]


def stage_table(comparison: Comparison, rivals: Sequence[str] = ()) -> Rows:
    """Milliseconds of each stage, the whole, and how the models compare; the first row is the header.

    Args:
        comparison: What was measured.
        rivals: Names of columns that all are compared with, beside the first.
    """
    lines = comparison.timelines
    rows: Rows = [
        ("ms, median", *(line.model for line in lines)),
        ("input", *(f"{line.image_size[1]}x{line.image_size[0]}" for line in lines)),
        ("objects", *(f"{line.num_objects:.1f}" for line in lines)),
    ]
    names = _merged([[stage.name for stage in line.stages] for line in lines])
    rows += [_stage_row(name, lines) for name in names if name != DRAW]
    rows += [
        ("total", *(_ms(line.seconds) for line in lines)),
        ("total, p95", *(_ms(line.p95) for line in lines)),
        ("frames/s", *(f"{line.frames_per_second:.1f}" for line in lines)),
    ]
    for base in dict.fromkeys((lines[0].model, *rivals)) if len(lines) > 1 else ():
        ratios = comparison.times_as_fast_as(base)
        rows.append((f"x as fast as {base}", *(f"{ratios[line.model]:.2f}" for line in lines)))
    rows.append(("post-processing", *(f"{line.postprocessing:.1%}" for line in lines)))
    if DRAW in names:
        rows.append(_stage_row(DRAW, lines))
    return rows + _work_rows(comparison.columns)


def growth_table(growth: Sequence[Growth]) -> Rows:
    """Milliseconds by number of objects; the first row is the header."""
    counts = sorted({count for one in growth for count in one.objects})
    times = [dict(zip(one.objects, one.seconds, strict=True)) for one in growth]
    slopes = [one.seconds_per_object for one in growth]
    return [
        ("ms, first picture", *(one.model for one in growth)),
        *((f"{n} objects", *(_ms(by[n]) if n in by else "" for by in times)) for n in counts),
        ("each more", *("" if slope is None else f"{slope * 1000:+.3f}" for slope in slopes)),
    ]


def accuracy_table(accuracy: Mapping[str, Metrics]) -> Rows:
    """AP of every model by the size of the objects; the first row is the header."""
    return [
        ("", "AP", "AP S", "AP M", "AP L"),
        *(
            (
                f"{name}: {kind}",
                *(
                    "-" if n is None else f"{n:.3f}"
                    for n in (v.ap, v.ap_small, v.ap_medium, v.ap_large)
                ),
            )
            for name, metrics in accuracy.items()
            for kind, v in (("mask", metrics.mask), ("box", metrics.box))
        ),
    ]


def notes(comparison: Comparison) -> list[str]:
    """What must be known to read the tables, a sentence a line."""
    first = comparison.timelines[0]
    conditions = comparison.conditions
    versions = ", ".join(f"{k} {v}" for k, v in conditions.items() if k != "device")
    batched = [line for line in comparison.timelines if line.batch_size > 1]
    alone = "" if batched else ", one at a time"
    lines = [
        f"{first.device}; pictures: {first.num_pictures}{alone}, {first.num_repeats} runs of each, "
        "models in turn",
        versions,
        "total: from the file to finished masks; post-processing: detect to masks, share of all but read",
        *(f"{c.timeline.model}: {c.source}, {c.description}" for c in comparison.columns),
    ]
    if batched:
        lines.append("times of a batch are shared out among its pictures")
    if any(stage.per_object for line in comparison.timelines for stage in line.stages):
        lines.append("* done again for each box, on features pooled from it")
    gemms = {c.gemm.precision: c.gemm for c in comparison.columns if c.gemm is not None}
    lines += [
        f"peak: {gemm.flops_per_second / 1e9:,.0f} GFLOP/s, a product of matrices in torch, {name}, "
        "in the same run"
        for name, gemm in gemms.items()
    ]
    return lines


def _stage_row(name: str, lines: Sequence[Timeline]) -> tuple[str, ...]:
    cells = []
    for line in lines:
        stage = next((stage for stage in line.stages if stage.name == name), None)
        mark = "*" if stage and stage.per_object else ""
        cells.append(f"{_ms(stage.seconds)}{mark}" if stage else "")
    return (name, *cells)


def _work_rows(columns: Sequence[Column]) -> Rows:
    """Work and memory, as far as they are known."""

    def row(name: str, value: Callable[[Column], str | None]) -> tuple[str, ...]:
        return (name, *(value(column) or "" for column in columns))

    rows = [
        row("GFLOP", lambda c: None if c.flops is None else f"{c.flops / 1e9:.1f}"),
        row("GFLOP/s", lambda c: _number(c.flops_per_second, "{:,.0f}", 1e-9)),
        row("of the peak", lambda c: _number(c.share_of_peak, "{:.0%}")),
        row("memory, MiB", lambda c: _mib(c.memory.model) if c.memory else None),
        row("GPU memory, MiB", lambda c: _mib(c.memory.gpu) if c.memory else None),
    ]
    return [row for row in rows if any(row[1:])]


def _number(value: float | None, form: str, unit: float = 1.0) -> str | None:
    return None if value is None else form.format(value * unit)


def _mib(size: int | None) -> str | None:
    return _number(size, "{:,.0f}", 2**-20)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f}"


def _merged(orders: Sequence[Sequence[str]]) -> list[str]:
    """All names; one that the first order lacks comes after its own predecessor."""
    merged: list[str] = []
    for order in orders:
        place = 0
        for name in order:
            if name not in merged:
                merged.insert(place, name)
            place = merged.index(name) + 1
    return merged
