"""The command line: a table of commands, each imported only when it is called."""

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence

from yolact import __version__
from yolact.errors import YolactError

# command -> (module, what it does)
COMMANDS = {
    "demo": ("yolact.cli.demo", "train, evaluate and predict on generated pictures"),
    "predict": ("yolact.cli.predict", "segment pictures"),
    "train": ("yolact.cli.train", "train a model on a data set"),
    "eval": ("yolact.cli.eval", "COCO box and mask AP of a model, or of a results file"),
    "export": ("yolact.cli.export", "write a model as a file for another runtime, checked"),
    "bench": ("yolact.cli.bench", "time each part of models, also beside Mask R-CNN"),
    "explain": ("yolact.cli.explain", "show how a model makes the masks of a picture"),
    "report": ("yolact.cli.report", "show how a run learnt, or compare runs, as a page"),
    "models": ("yolact.cli.models", "list, describe, download and import published models"),
    "data": ("yolact.cli.data", "make, look at, convert and mend data sets"),
}

EXIT_CODES = (
    "exit codes: 0 done, 1 the work failed, 2 wrong usage, 3 unusable input, 130 interrupted"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the return value is the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] not in COMMANDS:
        return _top_level(words)
    module = importlib.import_module(COMMANDS[words[0]][0])
    parser = argparse.ArgumentParser(
        prog=f"yolact {words[0]}", description=module.__doc__, epilog=EXIT_CODES
    )
    module.add_arguments(parser)
    try:
        return int(module.run(parser.parse_args(words[1:])))
    except YolactError as error:
        sys.stderr.write(f"yolact: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("yolact: interrupted\n")
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        sys.stderr.write(f"yolact: {error}\n")
        return 1


def _top_level(words: list[str]) -> int:
    width = max(map(len, COMMANDS)) + 4
    commands = "\n".join(f"  {name:<{width}}{what}" for name, (_, what) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="yolact",
        usage="yolact COMMAND …",
        description=f"Real-time instance segmentation with YOLACT.\n\ncommands:\n{commands}",
        epilog=f"'yolact COMMAND --help' tells more.\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"yolact {__version__}")
    parser.add_argument("command", nargs="?", help=argparse.SUPPRESS)
    arguments = parser.parse_args(words)
    if arguments.command is not None:
        parser.error(f"there is no command {arguments.command!r}.")
    parser.print_help(sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
