"""A run directory with everything that a report shows, made without any training."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from yolact.artifacts.run_directory import ABOUT, ANALYSIS, METRICS_LOG, RUN_CONFIG, SNAPSHOTS
from yolact.inference.explanation import Explanation
from yolact.inference.timing.timeline import Stage, Timeline
from yolact.reporting.scene import atlas_uri, picture_uri, scene
from yolact.results import Result
from yolact.structures import Detections

NAMES = ("disc", "ring", "star")
SIDE = 64
CELLS = 16


def explanation(step: int, picture: int, count: int = 4, prototypes: int = 6) -> Explanation:
    """Chance detections; the fourth prototype is dead."""
    chance = torch.Generator().manual_seed(1000 * picture + step)
    corners = torch.rand(count, 2, generator=chance) * 0.5
    drawn = torch.rand(prototypes, CELLS, CELLS, generator=chance)
    drawn[3] = 0
    found = Detections(
        boxes=torch.cat([corners, corners + 0.4], dim=1),
        scores=torch.rand(count, generator=chance).sort(descending=True).values,
        labels=torch.arange(count) % len(NAMES),
        coefficients=torch.randn(count, prototypes, generator=chance),
        prototypes=drawn,
    )
    view = np.full((SIDE, SIDE, 3), 90 + 40 * picture, np.uint8)
    result = Result.from_detections(found, (SIDE, SIDE), NAMES, image=view)
    return Explanation(view, found, result)


def snapshot(step: int) -> dict[str, Any]:
    """What a recorder writes after ``step`` steps."""
    scenes = []
    for picture in range(2):
        # A model that has learnt nothing finds nothing.
        drawn = scene(explanation(step, picture, count=4 if step else 0))
        drawn = {key: value for key, value in drawn.items() if key not in ("view", "overlay")}
        for detection in drawn["detections"]:
            detection |= {"iou": 0.5, "truth": 0}
        scenes.append(drawn)
    average = dict.fromkeys(("ap", "ap50", "ap75", "ap_small", "ap_medium"), step / 100)
    average |= {"ap_large": None, "ar": 0.5, "ar_small": 0.5, "ar_medium": 0.5, "ar_large": None}
    classes = {name: {"mask": average, "box": average, "num_objects": 3} for name in NAMES}
    return {
        "step": step,
        "seconds": 0.5 * step,
        "negatives": {name: (place + 1) / 6 for place, name in enumerate(NAMES)},
        "metrics": {"mask": average, "box": average, "per_class": classes} if step else None,
        "scenes": scenes,
    }


def write_run(folder: Path, steps: tuple[int, ...] = (0, 5, 10)) -> Path:
    """Write all of a run directory's files that are read for a page."""
    recorded = folder / SNAPSHOTS
    recorded.mkdir(parents=True)
    (folder / RUN_CONFIG).write_text("model:\n  image_size: [64, 64]\ntraining:\n  seed: 0\n")
    (folder / METRICS_LOG).write_text("".join(f"{json.dumps(row)}\n" for row in _rows(steps)))
    masks = torch.zeros(1, CELLS, CELLS)
    masks[0, 4:12, 4:12] = 1
    truth = {"names": ["disc"], "boxes": [[0.25, 0.25, 0.75, 0.75]], "masks": atlas_uri(masks)}
    pictures = [
        {
            "name": f"picture{index}.jpg",
            "image_id": index,
            "view": picture_uri(explanation(0, index).view),
            "size": [CELLS, CELLS],
            "truth": truth,
        }
        for index in range(2)
    ]
    (recorded / "pictures.json").write_text(json.dumps(pictures))
    for step in steps:
        (recorded / f"{step:08d}.json").write_text(json.dumps(snapshot(step)))
    (folder / ABOUT).write_text(json.dumps(_about()))
    (folder / ANALYSIS).write_text(json.dumps(_analysis(pictures[0]["view"])))
    return folder


def timeline() -> Timeline:
    """Protonet and head need the same, and not each other."""
    stages = (
        Stage("backbone", (), 0.010, 0.011),
        Stage("fpn", ("backbone",), 0.002, 0.003),
        Stage("protonet", ("fpn",), 0.003, 0.004),
        Stage("head", ("fpn",), 0.004, 0.005),
        Stage("masks", ("protonet", "head"), 0.001, 0.002),
    )
    return Timeline("tiny", "a processor", (64, 64), 2, 3, 4.0, stages, 0.020, 0.025)


def _rows(steps: tuple[int, ...]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for step in steps[1:]:
        row = {"step": step, "seconds": 0.5 * step}
        losses = {f"loss/{name}": 10.0 / step for name in ("box", "class", "mask", "total")}
        matched = {f"matched/P{level}": float(8 - level) for level in range(3, 8)}
        rows.append({**row, "learning_rate": 0.001, "gradient_norm": 2.0, **losses, **matched})
        average = {f"{s}/{k}": step / 100 for s in ("mask", "box") for k in ("ap", "ap50", "ap75")}
        sizes = {f"{s}/ap_{k}": 0.1 for s in ("mask", "box") for k in ("small", "medium", "large")}
        rows.append({**row, **average, **sizes})
    return rows


def _about() -> dict[str, Any]:
    part = {"source": "data", "images": 24, "objects": 80, "fingerprint": "ab" * 32}
    return {
        "name": "yolact-nano",
        "versions": {"yolact": "0.1.0"},
        "device": "cpu",
        "parameters": 1234567,
        "image_size": [SIDE, SIDE],
        "class_names": NAMES,
        "data": {"train": part, "val": part},
        "provenance": {"model": "yolact-nano"},
    }


def _analysis(picture: str) -> dict[str, Any]:
    curve = [1 - place / 100 for place in range(101)]
    curves = {"disc": curve, "ring": curve, "star": None, "all": curve}
    fates = {"objects": 5, "found": 2, "missed": 1, "badly cut": 1, "wrong class": 1}
    worst = {"name": "picture0.jpg", "image_id": 0, "reason": "Two objects are missed."}
    return {
        "step": 10,
        "score": 0.3,
        "iou": 0.5,
        "classes": NAMES,
        "precision": {shape: {"0.50": curves, "0.75": curves} for shape in ("mask", "box")},
        "confusion": [[5, 1, 0, 2], [0, 7, 0, 1], [1, 0, 3, 0], [2, 0, 1, 0]],
        "counts": {"missed": 3, "invented": 3, "badly cut": 0, "wrong class": 2, "double": 0},
        "counts_by_size": dict.fromkeys(("small", "medium", "large"), fates),
        "worst": [{**worst, "counts": {"missed": 2}, "truth": picture, "found": picture}],
    }
