"""Run directories with made-up logs, for the pages that read them."""

import json
import math
import random
from pathlib import Path
from typing import Any

import yaml


def write_run(
    folder: Path, index: int, *, validations: int = 5, rows: int = 20, **settings: Any
) -> Path:
    """A run whose mask AP rises to about 0.2 + 0.01 * index; ``settings`` are of its training."""
    chance = random.Random(index)
    folder.mkdir(parents=True)
    training = {"learning_rate": 0.001 * (1 + index), "optimizer": ["sgd", "adamw"][index % 2]}
    document = {"model": {"image_size": [96, 96]}, "training": training | settings}
    (folder / "config.yaml").write_text(yaml.safe_dump(document))
    events = []
    for row in range(1, rows + 1):
        step, seconds = row * 10, row * 6.0
        events.append({"step": step, "seconds": seconds, "loss/total": 30 / row + chance.random()})
        if row % (rows // validations) == 0:
            ap = (0.2 + 0.01 * index) * (1 - math.exp(-5 * row / rows))
            mask = {f"mask/{name}": ap for name in ("ap", "ap50", "ap75", "ap_medium", "ap_large")}
            events.append(
                {
                    "step": step,
                    "seconds": seconds,
                    **mask,
                    "mask/ap_small": None,
                    "box/ap": ap + 0.1,
                }
            )
    (folder / "metrics.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    return folder


def write_about(folder: Path, *, fingerprint: str, torch: str = "2.9") -> None:
    """What the run was made of."""
    data = {"val": {"source": "val", "images": 5, "objects": 9, "fingerprint": fingerprint}}
    document = {"name": "yolact-nano", "versions": {"torch": torch}, "data": data}
    (folder / "about.json").write_text(json.dumps(document))
