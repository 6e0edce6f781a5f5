"""Write a page that shows how a run learnt, or one that compares runs."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from yolact.cli.common import add_json, answer, answer_json, say

if TYPE_CHECKING:
    from yolact.inference.timing.timeline import Timeline
    from yolact.reporting.run_record import RunRecord

_COMPARISON = "comparison.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "runs", metavar="RUN", nargs="+", type=Path, help="run directory, or a folder of them"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help=f"the page (default: report.html in the run; of several runs {_COMPARISON})",
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the page; its path is the last line."""
    from yolact.artifacts.run_directory import REPORT
    from yolact.reporting.compare_page import write_comparison
    from yolact.reporting.page import refuse_foreign
    from yolact.reporting.run_page import write_report
    from yolact.reporting.run_record import find_runs, read_run

    folders = find_runs(arguments.runs)
    is_one = len(folders) == 1
    out = arguments.out or (folders[0] / REPORT if is_one else Path(_COMPARISON))
    refuse_foreign(out)
    records = [read_run(folder) for folder in folders]
    if is_one:
        write_report(folders[0], out, timeline=_timeline(records[0]))
    else:
        write_comparison(folders, out)
    if arguments.json:
        answer_json({"report": out, "runs": [_summary(record) for record in records]})
        return 0
    for record in records:
        answer(_sentence(record))
    answer(str(out))
    return 0


def _timeline(record: "RunRecord") -> "Timeline | None":
    from yolact.errors import YolactError
    from yolact.reporting.run_page import best_timeline

    try:
        return best_timeline(record)
    except YolactError as error:
        say(f"where the time goes is left out: {error}")
        return None


def _summary(record: "RunRecord") -> dict[str, object]:
    best = record.best or {}
    return {
        "run": record.folder,
        "mask_ap": best.get("mask/ap"),
        "box_ap": best.get("box/ap"),
        "step": best.get("step"),
    }


def _sentence(record: "RunRecord") -> str:
    if record.best is None:
        return f"{record.folder}: no validation with an AP yet"
    mask, box = record.best["mask/ap"], record.best.get("box/ap")
    boxes = "" if box is None else f", box AP {box:.3f}"
    return f"{record.folder}: mask AP {mask:.3f}{boxes} after {record.best['step']} steps"
