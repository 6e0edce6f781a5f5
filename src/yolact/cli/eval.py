"""COCO box and mask AP of a model on a data set, or of anybody's COCO results file."""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolact.cli.common import (
    add_detection,
    add_json,
    add_model_use,
    add_split_files,
    answer,
    answer_json,
    load_model,
    load_split,
    metrics_table,
    progress_bar,
    say,
)
from yolact.config.detection import given_options

if TYPE_CHECKING:
    from yolact.data.coco import CocoInstances
    from yolact.evaluation.coco import Metrics
    from yolact.evaluation.run import Collect

_FOR_SERVER = "coco"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "targets",
        metavar="MODEL DATA",
        nargs="*",
        type=Path,
        help="run directory, model file or model name, then the data set; "
        "with --predictions the data set alone",
    )
    parser.add_argument("--split", default="val", help="default: %(default)s")
    add_split_files(parser)
    parser.add_argument(
        "--predictions", type=Path, metavar="FILE", help="score this COCO results file instead"
    )
    parser.add_argument(
        "--save",
        metavar="FILE",
        help="write the COCO results there; 'coco' writes the two files for COCO's test server "
        "into --out",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="for --save coco (default: coco-results)"
    )
    add_detection(parser)
    add_model_use(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate and print the table, or the JSON document."""
    from yolact.errors import UsageError

    targets = list(arguments.targets)
    model = None if arguments.predictions or not targets else str(targets.pop(0))
    if len(targets) > 1 or (model is None and not arguments.predictions):
        raise UsageError("name MODEL and DATA, or --predictions FILE and DATA.")
    if arguments.out is not None and arguments.save != _FOR_SERVER:
        raise UsageError("--out is where --save coco writes.")
    instances = load_split(
        targets[0] if targets else None,
        arguments.split,
        arguments.images,
        arguments.annotations,
        needs_labels=model is None,
    )
    if not instances.has_labels and arguments.save is None:
        raise UsageError(
            f"{instances.source} has no labels to compare with; "
            "--save coco writes results for COCO's test server."
        )
    if model is None:
        metrics = _evaluate_file(instances, arguments)
        document = metrics.to_dict()
    else:
        metrics, document = _evaluate_model(model, instances, arguments)
    if not instances.has_labels:
        say(f"{instances.source} has no labels, so there is no AP.")
    if arguments.json:
        answer_json(document)
    else:
        if instances.has_labels:
            answer(metrics_table(metrics))
        for name, value in document.get("cost", {}).items():
            answer(f"{name.replace('_', ' ')}: {value}")
    return 0


def _evaluate_file(instances: "CocoInstances", arguments: argparse.Namespace) -> "Metrics":
    from yolact.errors import UsageError
    from yolact.evaluation.coco import evaluate_results, load_results

    options = given_options(vars(arguments))
    if arguments.save is not None or options.keys() - {"max_detections"}:
        raise UsageError("of the options of a model --predictions takes only --max-detections.")
    return evaluate_results(
        load_results(arguments.predictions),
        instances.ground_truth,
        max_detections=arguments.max_detections if "max_detections" in options else 100,
    )


def _evaluate_model(
    name: str, instances: "CocoInstances", arguments: argparse.Namespace
) -> tuple["Metrics", dict[str, Any]]:
    from yolact.evaluation.memory import peak_memory_mib
    from yolact.inference.evaluate import evaluate_model

    model = load_model(name, arguments)
    detection = model.detection(**given_options(vars(arguments)))
    started = time.monotonic()
    with (
        _saving(name, instances, arguments) as collect,
        progress_bar("evaluating", len(instances.records)) as bar,
    ):
        metrics = evaluate_model(
            model,
            detection,
            instances,
            batch_size=arguments.batch,
            on_progress=bar.set,
            collect=collect,
        ).compute()
    seconds = time.monotonic() - started
    cost = {
        "images_per_second": round(len(instances.records) / seconds, 2),
        "seconds": round(seconds, 2),
        "peak_memory_mib": peak_memory_mib(model.device),
    }
    return metrics, {**metrics.to_dict(), "cost": cost}


@contextmanager
def _saving(
    name: str, instances: "CocoInstances", arguments: argparse.Namespace
) -> Iterator["Collect | None"]:
    """What takes the results while they come, if they are to be saved."""
    from yolact.data.formats.coco import split_name
    from yolact.files import writing_list
    from yolact.inference.sinks import writing_server_files

    if arguments.save is None:
        yield None
        return
    if arguments.save == _FOR_SERVER:
        folder = arguments.out or Path("coco-results")
        path = Path(name).resolve()
        model = path.stem if path.is_file() else path.name
        # The server asks for detections_[test set]_[algorithm]_results.json.
        masks, boxes = files = [
            folder / f"detections_{split_name(instances.source)}_{model}-{shape}_results.json"
            for shape in ("masks", "boxes")
        ]
        with writing_server_files(masks, boxes) as collect:
            yield collect
    else:
        files = [Path(arguments.save)]
        with writing_list(files[0]) as collect:
            yield collect
    for file in files:
        say(f"results: {file}")
