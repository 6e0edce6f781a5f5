"""How fast training is on this machine, what it waits for, and how much memory it needs.

    python benchmarks/training.py [DATA] --model yolact-nano --workers 0 1 2
    python benchmarks/training.py --model yolact-resnet50 --batch 2 --threads 1 --objects 10 100
    python benchmarks/training.py --device cuda --batch 16 --precision fp32 bf16 --compile

Three Markdown tables: the loader alone and training as a whole by number of workers; the step alone,
one batch repeated, by precision, without and with ``--compile``; and loss and matching, forward and
backward, as a share of the step, for the batch's own objects and for made-up ones. Without ``DATA`` the
pictures are generated ones of 640 x 480 pixels. What is compared is measured interleaved, round by
round, and the median is taken: compare figures of one run only.
"""

import argparse
import json
import logging
import resource
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import islice, repeat
from pathlib import Path
from statistics import median
from typing import Any

import torch

from yolact.artifacts.metadata import ArtifactMetadata
from yolact.config.presets import PRESETS, Recipe, preset
from yolact.data.coco import CocoInstances
from yolact.data.dataset import TrainingSamples
from yolact.data.formats.read import load_split
from yolact.data.generate import generate_dataset
from yolact.model.build import build_yolact, prototype_size
from yolact.processing.preprocess import Preprocessor
from yolact.structures import Batch, Predictions, Target
from yolact.training.loader import ShuffledBatches, training_loader
from yolact.training.module import YolactModule
from yolact.training.schedule import Schedule

WARM_UP = 2
"""Batches at the beginning of each fit that are not counted."""


class Bench:
    """A model, its data and where it runs."""

    def __init__(
        self, data: CocoInstances, recipe: Recipe, device: torch.device, batches: int
    ) -> None:
        """Measure ``batches`` batches in each round."""
        self.data, self.recipe, self.device, self.batches = data, recipe, device, batches

    def loader(self, workers: int) -> Iterable[Batch]:
        """Endless batches as ``yolact train`` prepares them."""
        config, image_size = self.recipe.training, self.recipe.model.image_size
        samples = TrainingSamples(
            self.data,
            Preprocessor(self.recipe.model),
            prototype_size(image_size),
            augmentation=config.augmentation,
            seed=config.seed,
        )
        order = ShuffledBatches(len(samples), config.batch_size, config.seed)
        return training_loader(samples, order, replace(config, workers=workers))

    def module(self, **settings: Any) -> YolactModule:
        """The network with its training step."""
        config = replace(self.recipe.training, **settings)
        metadata = ArtifactMetadata(self.recipe.model, self.recipe.detection)
        torch.manual_seed(0)
        schedule = Schedule.from_config(config, steps_per_epoch=1000)
        return YolactModule(build_yolact(self.recipe.model), metadata, config, schedule)

    def fit(self, module: YolactModule, batches: Iterable[Batch]) -> tuple[float, float]:
        """Seconds in steps and seconds between them, each for a batch."""
        from lightning import Trainer
        from lightning.pytorch.callbacks import LambdaCallback

        marks: list[float] = []  # beginnings and ends of steps, in turns

        def mark(*_: object) -> None:
            self.synchronize()
            marks.append(time.perf_counter())

        trainer = Trainer(
            accelerator=self.device.type,
            devices=1,
            max_epochs=1,
            limit_train_batches=WARM_UP + self.batches,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[LambdaCallback(on_train_batch_start=mark, on_train_batch_end=mark)],
        )
        trainer.fit(module, batches)
        begins, ends = marks[2 * WARM_UP :: 2], marks[2 * WARM_UP + 1 :: 2]
        busy = sum(end - begin for begin, end in zip(begins, ends, strict=True))
        return busy / len(ends), (ends[-1] - marks[2 * WARM_UP - 1] - busy) / len(ends)

    def drain(self, batches: Iterable[Batch], prepared: int) -> float:
        """Seconds for a batch of an iterator, after ``prepared`` that may lie there already."""
        for _ in islice(batches, prepared):
            pass
        started = time.perf_counter()
        for _ in islice(batches, self.batches):
            pass
        return (time.perf_counter() - started) / self.batches

    def criterion(self, module: YolactModule, batch: Batch, targets: tuple[Target, ...]) -> float:
        """Seconds of matching and losses, forward and backward, without the network."""
        model = module.model.to(self.device).train()
        with torch.no_grad():
            images = batch.images.to(self.device, memory_format=torch.channels_last)
            found = model(images, with_semantics=True)
        leaves = Predictions(**{name: t.requires_grad_() for name, t in vars(found).items()})
        self.synchronize()
        started = time.perf_counter()
        losses = module.criterion(leaves, targets, model.anchors, model.mask_scorer)
        torch.stack(list(losses.values())).sum().backward()
        self.synchronize()
        return time.perf_counter() - started

    def synchronize(self) -> None:
        """Wait for the GPU."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def made_up(number: int, batch: Batch, num_classes: int) -> tuple[Target, ...]:
    """``number`` rectangles in each image, from a tenth to half of its side."""
    random = torch.Generator().manual_seed(0)
    height, width = batch.targets[0].masks.shape[1:]
    targets = []
    for _ in batch.targets:
        side = 0.1 * 5 ** torch.rand(number, 2, generator=random)
        near = torch.rand(number, 2, generator=random) * (1 - side)
        boxes = torch.cat((near, near + side), dim=1)
        masks = torch.zeros(number, height, width, dtype=torch.uint8)
        cells = (boxes * torch.tensor([width, height, width, height])).round().int().tolist()
        for mask, (x1, y1, x2, y2) in zip(masks, cells, strict=True):
            mask[y1:y2, x1:x2] = 1
        labels = torch.randint(num_classes, (number,), generator=random)
        targets.append(Target(boxes, labels, masks, torch.zeros(number, dtype=torch.bool)))
    return tuple(targets)


def measure(bench: Bench, arguments: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """All tables, as rows of named values."""
    images = bench.recipe.training.batch_size
    variants = {p: bench.module(precision=p) for p in arguments.precision}
    if arguments.compile:
        variants |= {
            f"{p}, compiled": bench.module(precision=p, compile=True) for p in arguments.precision
        }
    loaders = {workers: bench.loader(workers) for workers in arguments.workers}
    batch = next(iter(bench.loader(0)))
    first = next(iter(variants.values()))
    crowded = {"as they are": batch.targets}
    for number in arguments.objects:
        crowded[str(number)] = made_up(number, batch, bench.recipe.model.num_classes)
    crowded = {
        name: first.transfer_batch_to_device(replace(batch, targets=t), bench.device, 0).targets
        for name, t in crowded.items()
    }
    endless = {workers: iter(loader) for workers, loader in loaders.items()}

    def alone(name: str) -> float:
        return bench.fit(variants[name], repeat(batch))[0]

    def training(workers: int) -> tuple[float, float]:
        return bench.fit(first, endless[workers])

    tasks: dict[tuple[str, Any], Callable[[], Any]] = {}
    for workers in loaders:
        tasks["loader", workers] = lambda w=workers: bench.drain(endless[w], 2 * w)
        tasks["training", workers] = lambda w=workers: training(w)
    memory: dict[str, float] = {}
    for name in variants:
        tasks["step", name] = lambda n=name: alone(n)
    for name, targets in crowded.items():
        tasks["criterion", name] = lambda t=targets: bench.criterion(first, batch, t)

    times: dict[tuple[str, Any], list[Any]] = defaultdict(list)
    for round_ in range(arguments.rounds + 1):
        for key, task in tasks.items():
            if bench.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(bench.device)
            seconds = task()
            if round_:  # the first one warms up
                times[key].append(seconds)
            if key[0] == "step" and bench.device.type == "cuda":
                memory[key[1]] = torch.cuda.max_memory_allocated(bench.device) / 2**20

    step = median(times["step", arguments.precision[0]])
    by_workers = []
    for workers in loaders:
        waits = [wait / (busy + wait) for busy, wait in times["training", workers]]
        by_workers.append(
            {
                "workers": workers,
                "loader alone, images/s": images / median(times["loader", workers]),
                "training, images/s": images / median(map(sum, times["training", workers])),
                "waits for data, %": 100 * median(waits),
            }
        )
    by_variant = []
    for name in variants:
        seconds = median(times["step", name])
        row = {
            "step": name,
            "images/s": images / seconds,
            "ms": 1000 * seconds,
            "times as fast": step / seconds,
        }
        if name in memory:
            row["peak GPU memory, MiB"] = memory[name]
        by_variant.append(row)
    by_objects = []
    for name in crowded:
        # Of one round each, so that what slows both does not count.
        pairs = zip(times["criterion", name], times["step", arguments.precision[0]], strict=True)
        by_objects.append(
            {
                "objects per image": name,
                "loss and matching, ms": 1000 * median(times["criterion", name]),
                "share of the step, %": 100 * median(loss / whole for loss, whole in pairs),
            }
        )
    return {"workers": by_workers, "steps": by_variant, "losses": by_objects}


def peak_rss() -> list[dict[str, Any]]:
    """MiB of this process and of the largest worker that has ended."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return [
        {
            "peak memory": name,
            "MiB": resource.getrusage(who).ru_maxrss / unit,
        }
        for name, who in (
            ("main process", resource.RUSAGE_SELF),
            ("largest worker", resource.RUSAGE_CHILDREN),
        )
    ]


def number(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [list(rows[0]), ["---"] * len(rows[0])]
    for row in rows:
        lines.append([number(v) if isinstance(v, float) else str(v) for v in row.values()])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", type=Path, help="a data set; generated if left out")
    parser.add_argument("--model", choices=list(PRESETS), default="yolact-nano")
    parser.add_argument("--size", type=int, help="side of the input; the model's own by default")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--objects", type=int, nargs="*", default=[], help="made up, per image")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--precision", nargs="+", default=["fp32"])
    parser.add_argument("--compile", action="store_true", help="each precision once more, compiled")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batches", type=int, default=5, help="per measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the tables to this file, too")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")

    with tempfile.TemporaryDirectory() as folder:
        source = arguments.data or Path(folder)
        if arguments.data is None:
            generate_dataset(source, num_train=100, num_val=1, image_size=(480, 640), seed=0)
        data = load_split(source, "train")
        recipe = preset(arguments.model, data.class_names)
        if arguments.size is not None:
            recipe = recipe.resized((arguments.size, arguments.size))
        training = replace(recipe.training, batch_size=arguments.batch)
        bench = Bench(data, replace(recipe, training=training), arguments.device, arguments.batches)
        tables = measure(bench, arguments)
    tables["memory"] = peak_rss()
    print("\n".join(map(table, tables.values())))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(tables, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
