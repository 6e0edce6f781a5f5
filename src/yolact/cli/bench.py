"""Time models, runtimes and precisions side by side, from the picture to finished masks."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, get_args

from yolact.cli.common import (
    add_device,
    add_json,
    answer,
    answer_json,
    load_split,
    markdown_table,
    progress_bar,
    say,
    table_text,
)
from yolact.config.runtime import Precision, RuntimeName

if TYPE_CHECKING:
    from yolact.evaluation.coco import Metrics
    from yolact.inference.mask_rcnn import MaskRcnn
    from yolact.inference.timing.choice import Loaded
    from yolact.inference.timing.comparison import Comparison

_RIVALS = ("maskrcnn-resnet50",)
_SHORT_SIDE = 800
_COUNTS = (1, 10, 50, 100)
_USUAL_OBJECTS = 10
"""What models with random weights are made to find: about what a picture of COCO holds."""
_GENERATED_SIZE = "640x480"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "models",
        metavar="MODEL",
        nargs="+",
        help="run directory, .safetensors, .pth, .onnx, .xml or .pt2 file, or model name",
    )
    group = parser.add_argument_group(
        "columns", "One for each combination that exists; lists are written like a,b."
    )
    group.add_argument(
        "--runtime",
        type=_words("auto", "optimized", *get_args(RuntimeName)),
        default=("auto",),
        metavar="A,…",
        help=f"{', '.join(get_args(RuntimeName))}, optimized (what model.optimize() takes), or auto: "
        "torch, or what an exported file is for (default)",
    )
    group.add_argument(
        "--precision",
        type=_words("auto", *get_args(Precision)),
        default=("auto",),
        metavar="A,…",
        help=f"{', '.join(get_args(Precision))}, or auto (default): a file's own, else float32",
    )
    group.add_argument(
        "--batch",
        type=_numbers,
        default=(1,),
        metavar="N,…",
        help="copies of a picture that go through together (default: 1)",
    )
    group.add_argument(
        "--untrained",
        action="store_true",
        help="random weights for models given by name: speed does not depend on them",
    )
    group.add_argument(
        "--weights", type=Path, metavar="FILE", help="weights for a MODEL given by name"
    )
    add_device(group)
    group = parser.add_argument_group("pictures")
    group.add_argument(
        "--source",
        metavar="IMAGE_OR_DIR",
        help="pictures to run on (default: one that is generated)",
    )
    group.add_argument(
        "--picture-size",
        metavar="WIDTHxHEIGHT",
        help=f"of the generated one (default: {_GENERATED_SIZE})",
    )
    group.add_argument(
        "--objects",
        type=_numbers,
        metavar="N,…",
        help="make every model find N in each picture; of several numbers the first, and all of them "
        f"once more in the first picture (default with --against: {','.join(map(str, _COUNTS))})",
    )
    group = parser.add_argument_group("beside them")
    group.add_argument("--against", choices=_RIVALS, help="torchvision's Mask R-CNN")
    group.add_argument(
        "--against-weights",
        type=Path,
        metavar="FILE",
        help="its state dict, trained on COCO (default: random weights; nothing is downloaded)",
    )
    group.add_argument(
        "--against-size",
        type=_numbers,
        metavar="N,…",
        help=f"shorter side of its input in pixels, one or several (default: {_SHORT_SIDE})",
    )
    group = parser.add_argument_group("also measured")
    group.add_argument("--draw", action="store_true", help="drawing what was found")
    group.add_argument(
        "--memory", action="store_true", help="memory, for each column in a process of its own"
    )
    group.add_argument("--data", type=Path, metavar="DATA", help="AP there, by the size of objects")
    group.add_argument("--split", default="val", help="of DATA (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=10, metavar="N", help="default: %(default)s")
    parser.add_argument("--out", type=Path, metavar="FILE.png", help="a picture of the timelines")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    add_json(form)


def run(arguments: argparse.Namespace) -> int:
    """Measure, and print tables or the JSON document."""
    _check(arguments)
    from yolact.inference.timing.comparison import compare
    from yolact.reporting.timeline_picture import draw_timelines

    models, left_out = _models(arguments)
    for reason in left_out:
        say(reason)
    rivals = _rivals(arguments)
    random = arguments.untrained or (bool(rivals) and arguments.against_weights is None)
    counts, objects = _objects(arguments, random=random)
    with _pictures(arguments.source, arguments.picture_size) as pictures:
        runs = (len(models) + len(rivals)) * arguments.repeats * (len(pictures) + len(counts))
        with progress_bar("timing", runs) as bar:
            comparison = compare(
                models,
                rivals,
                pictures,
                repeats=arguments.repeats,
                objects=objects,
                counts=counts,
                draws=arguments.draw,
                with_memory=arguments.memory,
                on_progress=bar.step,
            )
    accuracy = _accuracy(models, rivals, arguments) if arguments.data else {}
    if arguments.out is not None:
        draw_timelines(comparison.timelines, comparison.growth, arguments.out)
    names = [rival.name for rival in rivals]
    if arguments.json:
        document = _document(comparison, accuracy, names)
        answer_json({**document, "left_out": left_out, "untrained": arguments.untrained})
        return 0
    table = markdown_table if arguments.markdown else table_text
    remarks = _answer_tables(comparison, accuracy, names, table)
    if random:
        whose = "random weights" if arguments.untrained else "Mask R-CNN has random weights"
        remarks.append(f"{whose}, on which speed does not depend")
    if objects is not None:
        remarks.append(f"every model is made to find its {objects} best objects")
    answer("\n".join(f"- {remark}" if arguments.markdown else remark for remark in remarks))
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what contradicts itself before anything is loaded."""
    from yolact.errors import UsageError
    from yolact.inference.load import model_file

    for option in ("untrained", "weights"):
        if getattr(arguments, option) and all(map(model_file, arguments.models)):
            raise UsageError(f"--{option} is for models given by name.")
    if arguments.against is None and (arguments.against_weights or arguments.against_size):
        raise UsageError("--against-weights and --against-size are for --against.")
    if arguments.untrained and arguments.weights is not None:
        raise UsageError("--untrained models have no --weights.")
    if arguments.data is not None and arguments.untrained:
        raise UsageError("--data measures AP, for which models must be trained: not --untrained.")
    if arguments.data is not None and arguments.against and arguments.against_weights is None:
        raise UsageError("--data measures AP, for which --against needs --against-weights FILE.")
    if arguments.source is not None and arguments.picture_size is not None:
        raise UsageError("--picture-size is of the generated picture, in place of --source.")
    if arguments.out is not None and arguments.out.suffix != ".png":
        raise UsageError(f"--out is a picture (.png), not {arguments.out}.")
    if min(arguments.batch) < 1:
        raise UsageError(f"--batch must be at least 1, not {min(arguments.batch)}.")
    if len(set(arguments.models)) < len(arguments.models):
        raise UsageError("name each MODEL once.")


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"numbers like 1,10,50 are needed, not {text!r}") from None


def _words(*known: str) -> Callable[[str], tuple[str, ...]]:
    """Reads a list of some of the words that are known."""

    def read(text: str) -> tuple[str, ...]:
        for word in text.split(","):
            if word not in known:
                raise argparse.ArgumentTypeError(f"{word!r} is none of {', '.join(known)}")
        return tuple(text.split(","))

    return read


def _models(arguments: argparse.Namespace) -> "tuple[list[Loaded], list[str]]":
    """All columns of our own that exist, and why others do not."""
    from yolact.config.presets import preset
    from yolact.inference.load import model_file
    from yolact.inference.timing.choice import Choice, combinations, load_all

    for name in arguments.models:  # a name that nobody has is no reason to leave a column out
        if arguments.untrained and model_file(name) is None:
            preset(name)
    like = Choice(
        "", weights=arguments.weights, device=arguments.device, untrained=arguments.untrained
    )
    columns = combinations(
        arguments.models, arguments.runtime, arguments.precision, arguments.batch, like=like
    )
    return load_all(columns)


def _objects(arguments: argparse.Namespace, *, random: bool) -> tuple[tuple[int, ...], int | None]:
    """With how many objects growth is measured, and how many every model is made to find."""
    given = arguments.objects
    if given is not None:
        return (given if len(given) > 1 else ()), given[0]
    return (_COUNTS if arguments.against else ()), (_USUAL_OBJECTS if random else None)


@contextmanager
def _pictures(source: str | None, size: str | None) -> Iterator[list[str | Path]]:
    """The pictures of ``--source``, or one that is made for the occasion."""
    from yolact.config.model import parse_size
    from yolact.data.generate import generate_dataset
    from yolact.inference.sources import expand_sources

    if source is not None:
        yield expand_sources([source])
        return
    with TemporaryDirectory() as folder:
        shape = parse_size(size or _GENERATED_SIZE)
        generate_dataset(Path(folder), num_train=1, num_val=1, image_size=shape)
        yield sorted(Path(folder, "images").glob("val_*"))


def _rivals(arguments: argparse.Namespace) -> "list[MaskRcnn]":
    """What ``--against`` names, once for each size of its input."""
    if arguments.against is None:
        return []
    from yolact.inference.load import choose_device
    from yolact.inference.mask_rcnn import MaskRcnn

    device = choose_device(arguments.device)
    return [
        MaskRcnn(device=device, weights=arguments.against_weights, short_side=side)
        for side in arguments.against_size or (_SHORT_SIDE,)
    ]


def _accuracy(
    models: "Sequence[Loaded]", rivals: "Sequence[MaskRcnn]", arguments: argparse.Namespace
) -> "dict[str, Metrics]":
    """AP of every column on DATA, by our one evaluator."""
    from yolact.config.presets import COCO_CLASSES
    from yolact.evaluation.run import fill_evaluator
    from yolact.inference.evaluate import evaluate_model

    instances = load_split(arguments.data, arguments.split, None, None)
    found = {
        one.name: evaluate_model(
            one.model, one.model.detection(), instances, batch_size=one.choice.batch_size
        ).compute()
        for one in models
    }
    for rival in rivals:
        found[rival.name] = fill_evaluator(
            rival.detect, COCO_CLASSES, instances, max_detections=100, batch_size=1
        ).compute()
    return found


def _answer_tables(
    comparison: "Comparison",
    accuracy: "dict[str, Metrics]",
    rivals: Sequence[str],
    table: Callable[[Sequence[str], Sequence[Sequence[str]]], str],
) -> list[str]:
    """Print all tables; what must be known to read them comes back."""
    from yolact.reporting.comparison_tables import (
        accuracy_table,
        growth_table,
        notes,
        stage_table,
    )

    tables = [stage_table(comparison, rivals)]
    if comparison.growth:
        tables.append(growth_table(comparison.growth))
    if accuracy:
        tables.append(accuracy_table(accuracy))
    for header, *rows in tables:
        answer(table(header, rows) + "\n")
    return notes(comparison)


def _document(
    comparison: "Comparison", accuracy: "dict[str, Metrics]", rivals: Sequence[str]
) -> dict[str, Any]:
    first = comparison.timelines[0]
    names = dict.fromkeys((first.model, *rivals))
    return {
        "timelines": [column.to_dict() for column in comparison.columns],
        "ratios": {line.model: line.seconds / first.seconds for line in comparison.timelines},
        "times_as_fast_as": {name: comparison.times_as_fast_as(name) for name in names},
        "growth": [one.to_dict() for one in comparison.growth],
        "accuracy": {name: metrics.to_dict() for name, metrics in accuracy.items()},
        "conditions": comparison.conditions,
    }
