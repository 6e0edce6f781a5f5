"""Share the pictures of a data set out to train, val and test, each with its part of every class."""

import argparse
from pathlib import Path

from yolact.cli.common import add_json, answer, answer_json, table_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("data", metavar="DATA", type=Path, help="its splits, if any, are merged")
    parser.add_argument("out", metavar="OUT", type=Path, help="new or empty folder")
    parser.add_argument(
        "--val", type=float, default=0.2, metavar="X", help="share of val (default: %(default)s)"
    )
    parser.add_argument(
        "--test", type=float, default=0.0, metavar="X", help="share of test (default: none)"
    )
    parser.add_argument(
        "--group",
        metavar="KEY",
        help="keep pictures together by a field of the images, as video_id, or by a regular "
        "expression's first group in the file name, as '(.*)_frame'",
    )
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Split."""
    from yolact.data.doctor.merge import merge
    from yolact.data.doctor.share import share_out
    from yolact.data.doctor.writing import CocoSplit, write_coco
    from yolact.data.formats.read import list_splits, read_split
    from yolact.errors import UsageError
    from yolact.files import refuse_existing

    train = 1 - arguments.val - arguments.test
    shares = {"train": train, "val": arguments.val, "test": arguments.test}
    if arguments.val <= 0 or arguments.test < 0 or not train > 0:
        raise UsageError("--val must be above 0, --test not below, and both together below 1.")
    if arguments.seed < 0:
        raise UsageError("--seed must not be negative.")
    refuse_existing(arguments.out)
    merged = merge(
        {split: read_split(arguments.data, split) for split in list_splits(arguments.data)}
    )
    chosen = share_out(
        merged.images,
        {split: share for split, share in shares.items() if share > 0},
        group=arguments.group,
        seed=arguments.seed,
    )
    documents = {split: merged.document(positions) for split, positions in chosen.items()}
    write_coco(
        arguments.out,
        {
            split: CocoSplit(document, tuple(merged.images[i].path for i in chosen[split]))
            for split, document in documents.items()
        },
    )
    names = {category["id"]: category["name"] for category in merged.categories}
    counts = {
        name: {
            split: sum(
                a["category_id"] == category_id and not a.get("iscrowd")
                for a in document["annotations"]
            )
            for split, document in documents.items()
        }
        for category_id, name in names.items()
    }
    pictures = {split: len(document["images"]) for split, document in documents.items()}
    if arguments.json:
        answer_json({"out": arguments.out, "pictures": pictures, "objects": counts})
    else:
        rows = [("pictures", *_shares(pictures))]
        rows += [(name, *_shares(numbers)) for name, numbers in counts.items()]
        answer(table_text(("", *chosen), rows))
        answer(f"data set: {arguments.out}")
    return 0


def _shares(numbers: dict[str, int]) -> list[str]:
    """Each number with its share of all."""
    total = max(sum(numbers.values()), 1)
    return [f"{number} ({number / total:.0%})" for number in numbers.values()]
