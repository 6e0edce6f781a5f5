"""What recording costs: the share of a training's time spent on snapshots, and their size on disk.

    python benchmarks/recording.py ../shared/data/microcontrollers --steps 300

Trains once, with every hook of the recorder timed, and prints both.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from yolact.artifacts.run_directory import SNAPSHOTS
from yolact.training import run
from yolact.training.recorder import Recorder


def main() -> None:
    """Train, and print a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="data set with train and val split")
    parser.add_argument("--model", default="yolact-nano")
    parser.add_argument("--size", type=int, default=320, help="side of the network input, pixels")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--validations", type=int, default=10)
    parser.add_argument("--snapshots", type=int, default=4, help="pictures that are watched")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    spent: list[float] = []
    for hook in ("on_train_start", "on_train_batch_end", "on_train_end"):
        setattr(Recorder, hook, timed(getattr(Recorder, hook), spent))
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        run.train(
            arguments.data,
            model=arguments.model,
            out=folder,
            size=arguments.size,
            steps=arguments.steps,
            validations=arguments.validations,
            snapshots=arguments.snapshots,
            device=arguments.device,
        )
        whole = time.perf_counter() - started
        sizes = [file.stat().st_size for file in (Path(folder) / SNAPSHOTS).glob("0*.json")]
    print(
        f"{sum(spent):.1f} s of {whole:.1f} s for {len(sizes)} snapshots: {sum(spent) / whole:.1%}; "
        f"{sum(sizes) / max(len(sizes), 1) / 1e4:.1f} MB for a hundred"
    )


def timed(hook: Callable[..., None], spent: list[float]) -> Callable[..., None]:
    """The same hook; its seconds are added to ``spent``."""

    def run_it(*arguments: Any, **named: Any) -> None:
        started = time.perf_counter()
        hook(*arguments, **named)
        spent.append(time.perf_counter() - started)

    return run_it


if __name__ == "__main__":
    main()
