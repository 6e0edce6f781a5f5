"""What several commands share: options of the same name, and how results are shown."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from yolact.config.detection import Crop, Nms
from yolact.config.runtime import Precision, RuntimeName

if TYPE_CHECKING:
    from yolact.data.coco import CocoInstances
    from yolact.evaluation.coco import AveragePrecision, Metrics
    from yolact.inference.predictor import Predictor


def add_device(parser: argparse._ActionsContainer) -> None:
    """``--device``."""
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps (default: %(default)s)"
    )


def add_size(parser: argparse.ArgumentParser) -> None:
    """``--size``, as :func:`yolact.config.model.parse_size` reads it."""
    parser.add_argument(
        "--size", metavar="N|WIDTHxHEIGHT", help="of the network input in pixels, as 320 or 480x320"
    )


def add_model_use(parser: argparse.ArgumentParser, *, batch: bool = True) -> None:
    """``--weights``, ``--batch``, ``--device``, ``--runtime``, ``--precision``: how a MODEL is used."""
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="weights for a MODEL given by name"
    )
    if batch:
        parser.add_argument(
            "--batch",
            type=int,
            default=4,
            metavar="N",
            help="pictures at a time (default: %(default)s)",
        )
    add_device(parser)
    parser.add_argument(
        "--runtime",
        choices=("auto", *get_args(RuntimeName)),
        default="auto",
        help="what runs the network; auto: torch, or what an exported file is for",
    )
    parser.add_argument(
        "--precision",
        choices=("auto", *get_args(Precision)),
        default="auto",
        help="of the network's arithmetic; auto: float32, or what an exported file was quantised to",
    )


def load_model(model: str, arguments: argparse.Namespace) -> "Predictor":
    """The MODEL of a command, with the options of :func:`add_model_use`.

    Raises:
        CheckpointError: As :func:`yolact.inference.load.load`.
        UsageError: Likewise.
    """
    from yolact.errors import UsageError
    from yolact.inference.load import load

    if getattr(arguments, "batch", 1) < 1:
        raise UsageError(f"--batch must be at least 1, not {arguments.batch}.")
    return load(
        model,
        weights=arguments.weights,
        device=arguments.device,
        runtime=arguments.runtime,
        precision=arguments.precision,
    )


def add_detection(parser: argparse.ArgumentParser) -> None:
    """What is detected and where masks end; the destinations are those of DetectionOptions."""
    group = parser.add_argument_group("detection", "The defaults are the model's own.")
    group.add_argument(
        "--classes",
        type=lambda text: [name.strip() for name in text.split(",") if name.strip()],
        metavar="A,B,…",
        help="only these classes, by name",
    )
    group.add_argument("--max-detections", type=int, metavar="N", help="best N of each picture")
    group.add_argument(
        "--nms",
        choices=get_args(Nms),
        help="fast: per class; cross-class: one class for each thing; greedy: for crowded scenes",
    )
    group.add_argument(
        "--nms-iou",
        type=float,
        dest="iou_threshold",
        metavar="X",
        help="a box that overlaps a better one by more is dropped",
    )
    group.add_argument(
        "--candidate-score",
        type=float,
        dest="score_threshold",
        metavar="X",
        help="what scores lower in every class is no candidate",
    )
    group.add_argument(
        "--crop",
        choices=get_args(Crop),
        help="masks end at the box, fade out over the margin, or are not cropped",
    )
    group.add_argument(
        "--crop-margin",
        type=float,
        metavar="X",
        help="how far beyond the box a mask may reach, in fractions of the box's sides",
    )


def add_json(parser: argparse._ActionsContainer) -> None:
    """``--json``."""
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def add_split_files(parser: argparse.ArgumentParser) -> None:
    """``--images`` and ``--annotations``, in place of DATA."""
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder of pictures")
    parser.add_argument("--annotations", type=Path, metavar="FILE", help="COCO annotation file")


def answer(text: str) -> None:
    """Print a result on stdout."""
    sys.stdout.write(text + "\n")


def answer_json(document: dict[str, Any]) -> None:
    """Print the one JSON document of ``--json``."""
    answer(json.dumps(document, indent=1, default=str))


def say(text: str) -> None:
    """Print progress on stderr."""
    sys.stderr.write(text + "\n")


def metrics_table(metrics: "Metrics") -> str:
    """AP of masks and boxes, and of each class, as a table for people."""
    rows = [("mask", *_row(metrics.mask)), ("box", *_row(metrics.box))]
    if len(metrics.per_class) > 1:
        rows += [(f"mask: {name}", *_row(one.mask)) for name, one in metrics.per_class.items()]
    return table_text(("", "AP", "AP50", "AP75", "AP S", "AP M", "AP L", "AR"), rows)


def table_text(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows under a header, in columns, for people."""
    table = Table(*header, box=None)
    for row in rows:
        table.add_row(*row)
    console = Console(width=120, file=sys.stdout)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The same in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _row(values: "AveragePrecision") -> list[str]:
    numbers = (
        values.ap,
        values.ap50,
        values.ap75,
        values.ap_small,
        values.ap_medium,
        values.ap_large,
        values.ar,
    )
    return ["-" if number is None else f"{number:.3f}" for number in numbers]


def load_split(
    data: Path | None,
    split: str,
    images: Path | None,
    annotations: Path | None,
    *,
    needs_labels: bool = True,
) -> "CocoInstances":
    """The split that DATA, or ``--images`` with ``--annotations``, names.

    Raises:
        UsageError: If it is named in neither way or in both.
        DataError: If it cannot be used.
    """
    from yolact.data.coco import load_coco
    from yolact.data.formats.read import load_split as load_named_split
    from yolact.errors import UsageError

    if data is not None and images is None and annotations is None:
        return load_named_split(data, split, needs_labels=needs_labels)
    if data is None and images is not None and annotations is not None:
        return load_coco(images, annotations, needs_labels=needs_labels)
    raise UsageError("name the data by DATA alone, or by --images and --annotations together.")


@contextmanager
def progress_bar(title: str, total: int) -> Iterator["ProgressBar"]:
    """A bar on a terminal's stderr; nothing elsewhere."""
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        yield ProgressBar(progress, title, total)


class ProgressBar:
    """How far a command is."""

    def __init__(self, progress: Progress, title: str, total: int) -> None:
        """Show ``title`` and count to ``total``."""
        self._progress = progress
        self._task = progress.add_task(title, total=total)

    def set(self, done: int) -> None:
        """``done`` of the total are done."""
        self._progress.update(self._task, completed=done)

    def step(self) -> None:
        """One more is done."""
        self._progress.advance(self._task)

    def note(self, text: str) -> None:
        """Say something above the bar."""
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)
