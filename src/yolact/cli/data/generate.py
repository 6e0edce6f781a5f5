"""Make a data set in COCO format: pictures of textured, overlapping, partly hidden objects of ten classes.

The same seed gives the same files.
"""

import argparse
from pathlib import Path

from yolact.cli.common import add_json, answer, answer_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("out", metavar="DIR", type=Path, help="new or empty folder")
    parser.add_argument("--train", type=int, default=400, metavar="N", help="default: %(default)s")
    parser.add_argument("--val", type=int, default=80, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--size",
        default="320x240",
        metavar="WIDTHxHEIGHT",
        help="of the pictures, in pixels (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Generate."""
    from yolact.config.model import parse_size
    from yolact.data.generate import CLASS_NAMES, generate_dataset

    generate_dataset(
        arguments.out,
        num_train=arguments.train,
        num_val=arguments.val,
        image_size=parse_size(arguments.size),
        seed=arguments.seed,
    )
    if arguments.json:
        answer_json(
            {
                "out": arguments.out,
                "train": arguments.train,
                "val": arguments.val,
                "classes": CLASS_NAMES,
            }
        )
    else:
        answer(
            f"{arguments.train} training and {arguments.val} validation pictures: {arguments.out}"
        )
    return 0
