"""Write a model as a file for another runtime, checked against the model before it is in place."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from yolact.cli.common import (
    add_detection,
    add_device,
    add_json,
    answer,
    answer_json,
    say,
    table_text,
)
from yolact.config.export import FORMATS, MAX_DROP, FileMasks

if TYPE_CHECKING:
    from yolact.export.int8_report import Ap, Int8Report
    from yolact.export.parity import Agreement, Parity


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "model", metavar="MODEL", help="run directory, .safetensors or .pth file, or model name"
    )
    parser.add_argument(
        "--to", choices=tuple(FORMATS), help="format of the file (default: what --out ends in)"
    )
    parser.add_argument(
        "--masks",
        default="final",
        choices=get_args(FileMasks),
        help="final: pictures in, finished masks out; raw: the network alone (default: %(default)s)",
    )
    parser.add_argument(
        "--full-size",
        action="store_true",
        help="masks of the whole picture, not of a window around each object",
    )
    parser.add_argument(
        "--fixed",
        metavar="WIDTHxHEIGHT",
        help="of the only pictures the file takes (default: any size)",
    )
    parser.add_argument(
        "--batch",
        type=int,
        metavar="N",
        help="the only number of pictures the file takes at a time (default: any)",
    )
    parser.add_argument(
        "--check",
        nargs="+",
        metavar="SOURCE",
        help="pictures to check the file on, the first 20 of them (default: those of --data or --int8, or "
        "made ones)",
    )
    parser.add_argument(
        "--data", type=Path, metavar="DATA", help="data set: AP of the model and of the file"
    )
    parser.add_argument(
        "--int8",
        type=Path,
        metavar="DATA",
        help="quantise the network with pictures of this data set's train split, and measure AP "
        "before and after",
    )
    parser.add_argument(
        "--max-drop",
        type=float,
        metavar="POINTS",
        help=f"of AP, of 100, that int8 may cost (default: {MAX_DROP})",
    )
    parser.add_argument(
        "--split",
        default="val",
        help="of --data and --int8 to measure AP on (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: the model's name, here")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a file that is there already"
    )
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="weights for a MODEL given by name"
    )
    add_detection(parser)
    add_device(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Export and print what the check found; exit code 1 if the file does not answer like MODEL."""
    from yolact.config.detection import given_options
    from yolact.config.model import parse_size
    from yolact.data.formats.read import load_split
    from yolact.errors import ExportError, UsageError
    from yolact.export.parity import Parity
    from yolact.inference.export import export
    from yolact.inference.load import load
    from yolact.inference.quantization import choose_pictures
    from yolact.inference.sources import expand_sources

    if arguments.to is None and arguments.out is None:
        raise UsageError(f"say to which format: --to {', '.join(FORMATS)}.")
    if arguments.max_drop is not None and arguments.int8 is None:
        raise UsageError("--max-drop says what --int8 may cost: it needs --int8 DATA.")
    model = load(
        arguments.model, weights=arguments.weights, device=arguments.device, runtime="torch"
    )
    path = Path(arguments.model).resolve()
    stem = path.stem if path.is_file() else path.name
    out = arguments.out or Path(f"{stem}{FORMATS[arguments.to]}")
    try:
        parity = export(
            model,
            out,
            to=arguments.to,
            masks=arguments.masks,
            full_size=arguments.full_size,
            picture_size=parse_size(arguments.fixed) if arguments.fixed else None,
            batch=arguments.batch,
            pictures=expand_sources(arguments.check) if arguments.check else None,
            data=load_split(arguments.data, arguments.split) if arguments.data else None,
            int8=choose_pictures(arguments.int8, arguments.split) if arguments.int8 else None,
            max_drop=MAX_DROP if arguments.max_drop is None else arguments.max_drop,
            overwrite=arguments.overwrite,
            on_progress=say,
            **given_options(vars(arguments)),
        )
    except ExportError as error:
        if isinstance(error.parity, Parity):
            _answer(error.parity, as_json=arguments.json)
        raise
    _answer(parity, as_json=arguments.json)
    say(f"{parity.total.matched} detections agree: {out}")
    return 0


def _answer(parity: "Parity", *, as_json: bool) -> None:
    if as_json:
        answer_json(parity.to_dict())
        return
    rows = [
        (Path(each.name).name, "{1}x{0}".format(*each.image_size), *_row(each))
        for each in parity.pictures
    ]
    rows.append(("all", "", *_row(parity.total)))
    header = ("picture", "size", "model", "both", "alone", "box px", "score", "IoU min", "mean")
    if parity.int8 is not None:
        answer("the file against the model, its network still in float32:\n")
    answer(table_text(header, rows))
    if parity.raw_difference is not None:
        answer(
            f"outputs of the network differ by {parity.raw_difference:.1g} of their largest value"
        )
    if parity.int8 is not None:
        _answer_int8(parity.int8)
    for name, metrics in parity.metrics.items():
        answer(f"AP of the {name}: mask {_ap(metrics.mask.ap)}, box {_ap(metrics.box.ap)}")


def _answer_int8(report: "Int8Report") -> None:
    def row(network: str, ap: "Ap", drop: str) -> tuple[str, ...]:
        return network, f"{100 * ap.mask:.2f}", f"{100 * ap.box:.2f}", drop

    rows = [row("float32", report.before, "")]
    rows += [
        row(f"int8, in float32: {one.kept}", one.ap, f"{one.drop:.2f}") for one in report.trials
    ]
    answer("\n" + table_text(("AP of 100", "mask", "box", "lost"), rows))
    answer(
        f"quantised with {report.num_calibration} pictures of {report.calibration_source}; AP of "
        f"{report.num_measured} {'others' if report.from_one_split else 'pictures'} of "
        f"{report.measured_source}"
    )
    fastest = report.speeds[-1]
    rows = [
        (
            one.runtime,
            *(f"{1000 * seconds:.1f}" for seconds in (one.network_seconds, one.seconds)),
            f"{one.seconds / fastest.seconds:.2f}",
        )
        for one in report.speeds
    ]
    answer("\n" + table_text(("ms a picture, median", "network", "to masks", "ratio"), rows))


def _row(found: "Agreement") -> tuple[str, ...]:
    return (
        str(found.expected),
        str(found.matched),
        str(found.unmatched),
        f"{found.box_difference:.2g}",
        f"{found.score_difference:.1g}",
        f"{found.least_iou:.4f}",
        f"{found.mean_iou:.4f}",
    )


def _ap(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
