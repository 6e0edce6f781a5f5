"""Time from an encoded picture to finished masks, stage by stage, on this machine.

    python benchmarks/prediction.py --model yolact-nano --threads 2

Weights are random, so the score filter is set to let a given number of detections through; times do
not depend on what the weights have learnt, but on how many detections are kept. Models are measured
interleaved, round by round, and the median is printed: compare figures of one run only.
"""

import argparse
import io
import time
from collections import defaultdict
from dataclasses import replace
from statistics import median

import numpy as np
import torch
from PIL import Image

from yolact.config.presets import PRESETS, preset
from yolact.data.images import to_rgb
from yolact.model.build import build_yolact
from yolact.processing.postprocess import postprocess
from yolact.processing.preprocess import Preprocessor
from yolact.results import Result

STAGES = ("decode", "preprocess", "network", "detect", "masks")


def encoded_picture(height: int = 480, width: int = 640) -> bytes:
    """A JPEG with some texture, the same on every machine."""
    y, x = np.mgrid[:height, :width]
    channels = [np.abs((2 + c) * y + (3 - c) * x) % 256 for c in range(3)]
    file = io.BytesIO()
    Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


class Candidate:
    """One model with all its stages."""

    def __init__(self, name: str, max_detections: int) -> None:
        """Build it with random weights."""
        recipe = preset(name)
        self.network = build_yolact(recipe.model).eval().to(memory_format=torch.channels_last)
        self.preprocessor = Preprocessor(recipe.model)
        self.names = recipe.model.class_names
        # Random weights give every anchor about 1/81 for each class: nothing is filtered out.
        self.detection = replace(
            recipe.detection, score_threshold=0.0, max_detections=max_detections
        )

    def run(self, encoded: bytes) -> dict[str, float]:
        """Seconds of each stage for one picture."""
        seconds, started = {}, time.perf_counter()

        def lap(stage: str) -> None:
            nonlocal started
            now = time.perf_counter()
            seconds[stage], started = now - started, now

        with torch.inference_mode():
            with Image.open(io.BytesIO(encoded)) as opened:
                picture = to_rgb(opened)
            lap("decode")
            images = self.preprocessor([picture]).contiguous(memory_format=torch.channels_last)
            lap("preprocess")
            predictions = self.network(images)
            lap("network")
            (found,) = postprocess(
                predictions, self.network.anchors, self.detection, self.network.mask_scorer
            )
            lap("detect")
            size = (picture.shape[0], picture.shape[1])
            Result.from_detections(found, size, self.names).masks.crops()
            lap("masks")
        return seconds


def main() -> None:
    """Measure and print a table in milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", action="append", choices=list(PRESETS))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--detections", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    encoded = encoded_picture()
    candidates = {
        name: Candidate(name, arguments.detections) for name in arguments.model or ["yolact-nano"]
    }
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for candidate in candidates.values():
        candidate.run(encoded)
    for _ in range(arguments.rounds):
        for name, candidate in candidates.items():
            for stage, seconds in candidate.run(encoded).items():
                times[name, stage].append(seconds * 1000)
    print(f"{'ms, median':<18}" + "".join(f"{stage:>12}" for stage in (*STAGES, "total")))
    for name in candidates:
        medians = [median(times[name, stage]) for stage in STAGES]
        print(f"{name:<18}" + "".join(f"{ms:12.1f}" for ms in (*medians, sum(medians))))


if __name__ == "__main__":
    main()
