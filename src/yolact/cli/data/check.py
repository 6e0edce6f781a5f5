"""Find all that is wrong with a data set, and mend a copy of it.

Exit code 0: no errors; 1: errors, with --strict also warnings; 3: labels that cannot be read at all.
With --fix the code is that of the mended copy.
"""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolact.cli.common import add_json, add_size, answer, answer_json, progress_bar, say, table_text

if TYPE_CHECKING:
    from yolact.data.doctor.anchors import AnchorReport
    from yolact.data.doctor.check import Examination
    from yolact.data.doctor.fix import Change

_EXAMPLES = 5  # of each kind, printed for people


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("data", metavar="DATA", type=Path, help="data set of any number of splits")
    parser.add_argument("--strict", action="store_true", help="warnings count as errors")
    parser.add_argument(
        "--fix", type=Path, metavar="OUT", help="write a mended copy into this new or empty folder"
    )
    parser.add_argument(
        "--contact-sheet",
        type=Path,
        metavar="DIR",
        help="draw the suspects: a picture for each kind of finding",
    )
    parser.add_argument(
        "--model",
        default="yolact-nano",
        metavar="NAME_OR_RECIPE",
        help="whose anchors and input size to check for (default: %(default)s)",
    )
    add_size(parser)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="read headers of pictures only: truncated and repeated ones are not found",
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check, and mend if asked to."""
    from yolact.data.doctor.fix import mend

    examination = _examine(arguments.data, arguments)
    if arguments.contact_sheet is not None:
        from yolact.data.doctor.sheets import write_sheets

        for sheet in write_sheets(examination, arguments.contact_sheet):
            say(f"suspects: {sheet}")
    changes: list[Change] = []
    if arguments.fix is not None:
        changes = mend(examination, arguments.fix)
        if not arguments.json:
            answer(_findings_text(examination))
            answer(_changes_text(changes, arguments.fix))
        examination = _examine(arguments.fix, arguments)
    if arguments.json:
        answer_json(_document(examination, changes))
    else:
        answer(_findings_text(examination))
        if examination.anchors is not None:
            answer(_anchors_text(examination.anchors))
        answer(_summary(examination, arguments.fix or arguments.data))
    failed = examination.count("error") or (arguments.strict and examination.count("warning"))
    return 1 if failed else 0


def _examine(data: Path, arguments: argparse.Namespace) -> "Examination":
    from yolact.config.model import parse_size
    from yolact.config.serialize import load_recipe
    from yolact.data.doctor.check import examine
    from yolact.data.formats.read import list_splits, read_split

    def recipe(names: tuple[str, ...]) -> Any:
        loaded = load_recipe(arguments.model, names)
        return loaded if arguments.size is None else loaded.resized(parse_size(arguments.size))

    recipe(("thing",))  # a model that does not exist shall be said before minutes of reading
    splits = {split: read_split(data, split) for split in list_splits(data)}
    num_pictures = sum(len(raw.document.get("images") or ()) for raw in splits.values())
    with progress_bar("pictures", num_pictures) as progress:
        return examine(
            splits, recipe, arguments.model, quick=arguments.quick, progress=progress.set
        )


def _findings_text(examination: "Examination") -> str:
    lines = []
    for code, findings in examination.by_code().items():
        kind = findings[0].kind
        lines.append(f"{kind.severity}: {kind.title} ({code}): {len(findings)}")
        for finding in findings[:_EXAMPLES]:
            file = "" if finding.file is None else f"{finding.file}: "
            lines.append(f"  {finding.split}: {file}{finding.text}")
        if len(findings) > _EXAMPLES:
            lines.append(f"  … and {len(findings) - _EXAMPLES} more; --json lists all")
        lines.append(f"  -> {kind.advice}")
        lines.append("")
    return "\n".join(lines)


def _changes_text(changes: "list[Change]", out: Path) -> str:
    lines = [f"mended copy in {out}, {len(changes)} changes:"]
    for change in changes:
        file = "" if change.file is None else f"{change.file}: "
        lines.append(f"  {change.split}: {file}{change.text}")
    lines += ["", "what is left in it:", ""]
    return "\n".join(lines)


def _anchors_text(report: "AnchorReport") -> str:
    height, width = report.image_size
    lines = [
        f"anchors of {report.model} at {width}x{height}: {report.recall:.1%} of "
        f"{report.num_objects} objects have one of IoU {report.positive_iou:g} or more",
        table_text(
            ("size in the input, pixels", "objects", "matched"),
            [(name, str(number), f"{recall:.1%}") for name, number, recall in report.by_size],
        ),
    ]
    if report.fitted_scales is not None and report.fitted_recall is not None:
        scales = ", ".join(
            "[" + ", ".join(f"{scale:g}" for scale in level) + "]" for level in report.fitted_scales
        )
        lines += [
            f"fitted to these objects, {report.fitted_recall:.1%}; in a recipe:",
            "  model:",
            "    anchors:",
            f"      scales: [{scales}]",
        ]
    return "\n".join([*lines, ""])


def _summary(examination: "Examination", data: Path) -> str:
    pictures = sum(len(survey.pictures) for survey in examination.surveys)
    objects = sum(len(survey.objects) for survey in examination.surveys)
    counts = ", ".join(
        f"{examination.count(severity)} {word}"
        for severity, word in (("error", "errors"), ("warning", "warnings"), ("info", "notes"))
    )
    return f"{data}: {counts} in {pictures} pictures with {objects} objects"


def _document(examination: "Examination", changes: "list[Change]") -> dict[str, Any]:
    from yolact.data.doctor.check import totals

    return {
        "errors": examination.count("error"),
        "warnings": examination.count("warning"),
        "notes": examination.count("info"),
        "splits": {
            survey.split: {"pictures": len(survey.pictures), "objects": len(survey.objects)}
            for survey in examination.surveys
        },
        "totals": totals(examination),
        "findings": [finding.to_dict() for finding in examination.findings],
        "anchors": None if examination.anchors is None else asdict(examination.anchors),
        "changes": [asdict(change) for change in changes],
    }
