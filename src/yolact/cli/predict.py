"""Segment pictures: files, folders, globs and URLs in; overlays, masks and data out."""

import argparse
from pathlib import Path

from yolact.cli.common import (
    add_detection,
    add_json,
    add_model_use,
    answer,
    answer_json,
    load_model,
    progress_bar,
    say,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("model", metavar="MODEL", help="run directory, model file or model name")
    parser.add_argument(
        "sources", metavar="SOURCE", nargs="+", help="picture, folder, pattern or URL"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("predictions"), metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument(
        "--score", type=float, default=0.15, help="only detections above it (default: %(default)s)"
    )
    parser.add_argument(
        "--save",
        default="overlay,json",
        metavar="LIST",
        help="of overlay, json, coco, masks, crops (default: %(default)s)",
    )
    add_detection(parser)
    add_model_use(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Predict; a picture that cannot be read is reported and skipped, and the exit code is 1."""
    from yolact.config.detection import given_options
    from yolact.errors import ImageError
    from yolact.inference.predictor import predict_files
    from yolact.inference.sinks import ResultWriter
    from yolact.inference.sources import expand_sources

    paths = expand_sources(arguments.sources)
    model = load_model(arguments.model, arguments)
    formats = [name for name in arguments.save.split(",") if name]
    writer = ResultWriter(arguments.out, formats, model.metadata.category_ids)
    summaries, failures = [], []
    with progress_bar("predicting", len(paths)) as bar:
        for done, (source, outcome) in enumerate(
            predict_files(
                model,
                paths,
                score=arguments.score,
                batch_size=arguments.batch,
                **given_options(vars(arguments)),
            ),
            start=1,
        ):
            bar.set(done)
            if isinstance(outcome, ImageError):
                bar.note(f"skipped: {outcome}")
                failures.append({"path": str(source), "error": str(outcome)})
                continue
            writer.write(outcome)
            summaries.append(outcome.to_dict() if arguments.json else str(outcome))
    writer.close()
    if arguments.json:
        answer_json({"out": arguments.out, "results": summaries, "failures": failures})
    else:
        for summary in summaries:
            answer(str(summary))
    say(f"{len(paths) - len(failures)} pictures done, {len(failures)} skipped: {arguments.out}")
    return 1 if failures else 0
