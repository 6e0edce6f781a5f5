"""Count pictures, objects and classes of a data set. Areas are those of the masks, in pixels."""

import argparse
from pathlib import Path
from typing import Any

from yolact.cli.common import add_json, answer, answer_json, table_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("data", metavar="DATA", type=Path, help="data set of any number of splits")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Count."""
    from yolact.data.doctor.statistics import statistics
    from yolact.data.formats.read import list_splits, load_split

    splits = {
        split: statistics(load_split(arguments.data, split))
        for split in list_splits(arguments.data)
    }
    if arguments.json:
        answer_json(splits)
    else:
        answer("\n\n".join(_text(split, numbers) for split, numbers in splits.items()))
    return 0


def _text(split: str, numbers: dict[str, Any]) -> str:
    sizes = list(numbers["sizes"].items())
    shown = ", ".join(f"{size} ({times})" for size, times in sizes[:3])
    more = f" and {len(sizes) - 3} other sizes" if len(sizes) > 3 else ""
    each = numbers["objects_per_picture"]
    lines = [
        f"{split}: {numbers['pictures']} pictures, {shown}{more}",
        f"{numbers['objects']} objects, {each['min']:g} to {each['max']:g} a picture, "
        f"{each['median']:g} at the median; {numbers['without_objects']} pictures without",
        f"{numbers['of_several_parts']} of several parts, {numbers['with_holes']} with holes; "
        f"{numbers['crowds']} crowds",
    ]
    header = ("class", "objects", "pictures", "area q25", "median", "q75", "S", "M", "L")
    rows = [_row(name, one) for name, one in numbers["classes"].items()]
    everything = {"objects": numbers["objects"], "pictures": numbers["pictures"]}
    rows.append(_row("all", everything | numbers["areas"]))
    return "\n".join([*lines, table_text(header, rows)])


def _row(name: str, one: dict[str, Any]) -> tuple[str, ...]:
    counts = (name, str(one["objects"]), str(one["pictures"]))
    if one["area"] is None:
        return (*counts, *("-",) * 6)
    areas = (f"{one['area'][key]:.0f}" for key in ("q25", "median", "q75"))
    return (*counts, *areas, *(f"{one[key]:.0%}" for key in ("small", "medium", "large")))
