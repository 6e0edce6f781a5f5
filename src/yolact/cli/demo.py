"""The whole story on generated pictures: train, evaluate, predict. Minutes on two CPU cores."""

import argparse
from pathlib import Path

from yolact.cli.common import add_device, add_json, answer, answer_json, metrics_table, say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    from yolact.demo import TRAINING_TIME

    parser.add_argument(
        "--out",
        type=Path,
        default=Path("demo"),
        metavar="DIR",
        help="new or empty folder (default: %(default)s)",
    )
    parser.add_argument(
        "--max-time",
        default=TRAINING_TIME,
        metavar="HH:MM:SS",
        help="for the training at most (default: %(default)s)",
    )
    add_device(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; print AP and where everything is."""
    from yolact.demo import run_demo

    outcome = run_demo(arguments.out, max_time=arguments.max_time, device=arguments.device, say=say)
    places = {
        "data": outcome.data,
        "run": outcome.run,
        "predictions": outcome.overlays,
    }
    if arguments.json:
        answer_json({**outcome.metrics.to_dict(), **places, "report": outcome.report})
    else:
        answer(metrics_table(outcome.metrics))
        for name, path in places.items():
            answer(f"{name + ':':<13}{path}")
        answer("how it learnt, as a page to open in a browser:")
        answer(str(outcome.report))
    return 0
