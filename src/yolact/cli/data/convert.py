"""Write a data set once more in another format: all splits, the pictures as they are.

Masks stay the same to the pixel wherever the format can say them; what it cannot say is counted.
"""

import argparse
from pathlib import Path

from yolact.cli.common import add_json, answer, answer_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("data", metavar="DATA", type=Path, help="data set in any known format")
    parser.add_argument("out", metavar="DIR", type=Path, help="new or empty folder")
    parser.add_argument("--to", required=True, help="coco, yolo, labelme or png")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Convert, and say what could not be expressed."""
    from yolact.data.formats.convert import convert

    done = convert(arguments.data, arguments.out, arguments.to)
    if arguments.json:
        answer_json(
            {
                "out": arguments.out,
                "from": done.source_format,
                "to": arguments.to,
                "splits": {
                    split: {"images": images, "objects": objects}
                    for split, (images, objects) in done.splits.items()
                },
                "not_expressed": done.not_expressed,
                "renamed": done.renamed,
            }
        )
        return 0
    for split, (images, objects) in done.splits.items():
        answer(f"{split}: {images} pictures, {objects} objects")
    for reason, number in done.not_expressed.items():
        answer(f"not expressed: {number} {reason}")
    for old, new in done.renamed.items():
        answer(f"renamed: class {old!r} is {new!r}")
    answer(f"{done.source_format} -> {arguments.to}: {arguments.out}")
    return 0
