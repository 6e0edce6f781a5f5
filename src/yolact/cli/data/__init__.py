"""Data sets: make, look at, convert and mend them."""

import argparse
import importlib

# verb -> (module, what it does)
VERBS = {
    "convert": ("yolact.cli.data.convert", "write a data set once more in another format"),
    "generate": ("yolact.cli.data.generate", "make labelled pictures of overlapping objects"),
    "check": ("yolact.cli.data.check", "find what is wrong with a data set, and mend a copy"),
    "stats": ("yolact.cli.data.stats", "count pictures, objects and classes"),
    "split": ("yolact.cli.data.split", "share pictures out to train, val and test"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verbs and their options."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, (home, what) in VERBS.items():
        module = importlib.import_module(home)
        module.add_arguments(verbs.add_parser(verb, help=what, description=module.__doc__))


def run(arguments: argparse.Namespace) -> int:
    """Run the verb."""
    return int(importlib.import_module(VERBS[arguments.verb][0]).run(arguments))
