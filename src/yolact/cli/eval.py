"""COCO box and mask AP of a model on a data set, or of anybody's COCO results file."""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from yolact.cli.common import (
    add_json,
    add_model_use,
    add_split_files,
    answer,
    answer_json,
    load_split,
    metrics_table,
    progress_bar,
    say,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "targets",
        metavar="MODEL DATA",
        nargs="*",
        type=Path,
        help="run directory, .safetensors or .pth file, or model name, then the data set; "
        "with --predictions the data set alone",
    )
    parser.add_argument("--split", default="val", help="default: %(default)s")
    add_split_files(parser)
    parser.add_argument(
        "--predictions", type=Path, metavar="FILE", help="score this COCO results file instead"
    )
    parser.add_argument(
        "--max-detections", type=int, metavar="N", help="per picture (default: the model's, 100)"
    )
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the COCO results there")
    add_model_use(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate and print the table, or the JSON document."""
    from yolact.errors import UsageError

    targets = list(arguments.targets)
    model = None if arguments.predictions or not targets else str(targets.pop(0))
    if len(targets) > 1 or (model is None and not arguments.predictions):
        raise UsageError("name MODEL and DATA, or --predictions FILE and DATA.")
    instances = load_split(
        targets[0] if targets else None, arguments.split, arguments.images, arguments.annotations
    )
    if arguments.predictions:
        from yolact.evaluation.coco import evaluate_results, load_results

        metrics = evaluate_results(
            load_results(arguments.predictions),
            instances.ground_truth,
            max_detections=arguments.max_detections or 100,
        )
        document = metrics.to_dict()
    else:
        assert model is not None
        metrics, document = _evaluate_model(model, instances, arguments)
    if arguments.json:
        answer_json(document)
    else:
        answer(metrics_table(metrics))
        for name, value in document.get("cost", {}).items():
            answer(f"{name.replace('_', ' ')}: {value}")
    return 0


def _evaluate_model(
    name: str, instances: Any, arguments: argparse.Namespace
) -> tuple[Any, dict[str, Any]]:
    from yolact.evaluation.memory import peak_memory_mib
    from yolact.evaluation.run import evaluate_predictions
    from yolact.files import write_text
    from yolact.inference.load import load

    model = load(name, weights=arguments.weights, device=arguments.device)
    detection = model.detection(arguments.max_detections)
    collected: list[dict[str, Any]] | None = [] if arguments.save else None
    started = time.monotonic()
    with progress_bar("evaluating", len(instances.records)) as bar:
        metrics = evaluate_predictions(
            lambda pictures: model.detect(pictures, detection),
            model.names,
            instances,
            max_detections=detection.max_detections,
            batch_size=arguments.batch,
            on_progress=bar.set,
            collected=collected,
        )
    seconds = time.monotonic() - started
    if collected is not None:
        write_text(arguments.save, json.dumps(collected))
        say(f"results: {arguments.save}")
    cost = {
        "images_per_second": round(len(instances.records) / seconds, 2),
        "seconds": round(seconds, 2),
        "peak_memory_mib": peak_memory_mib(model.device),
    }
    return metrics, {**metrics.to_dict(), "cost": cost}
