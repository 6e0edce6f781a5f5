"""Show how a model makes its masks: prototypes, coefficients, contributions, sum and crop."""

import argparse
from pathlib import Path

from yolact.cli.common import (
    add_detection,
    add_json,
    add_model_use,
    answer,
    answer_json,
    load_model,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("model", metavar="MODEL", help="run directory, model file or model name")
    parser.add_argument("image", metavar="IMAGE", help="picture or URL")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="a page (.html), or a picture of the best objects (.png) (default: NAME-explained.html)",
    )
    parser.add_argument(
        "--score", type=float, default=0.15, help="only detections above it (default: %(default)s)"
    )
    add_detection(parser)
    add_model_use(parser, batch=False)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Explain one picture."""
    from yolact.config.detection import given_options
    from yolact.errors import UsageError
    from yolact.inference.explanation import explain
    from yolact.reporting.explain_page import write_explanation
    from yolact.reporting.explain_picture import draw_explanation

    name = Path(arguments.image).name
    out = arguments.out or Path(f"{Path(name).stem}-explained.html")
    if out.suffix not in (".html", ".png"):
        raise UsageError(f"--out is a page (.html) or a picture (.png), not {out}.")
    model = load_model(arguments.model, arguments)
    explanation = explain(
        model, arguments.image, score=arguments.score, **given_options(vars(arguments))
    )
    if out.suffix == ".html":
        write_explanation(explanation, out, model=str(arguments.model), picture=name)
    else:
        draw_explanation(explanation, out)
    if arguments.json:
        answer_json({"out": out, **explanation.to_dict()})
    else:
        answer(f"{len(explanation.detections)} objects: {out}")
    return 0
