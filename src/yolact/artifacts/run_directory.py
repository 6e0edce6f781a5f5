"""What lies in a run directory: the names of its files, and its log."""

import json
from pathlib import Path
from typing import Any

RUN_CONFIG = "config.yaml"
ABOUT = "about.json"
"""Versions, device, data and its fingerprint: what the run was made of beside its settings."""
METRICS_LOG = "metrics.jsonl"
METRICS_TABLE = "metrics.csv"
LAST_CHECKPOINT = "last.ckpt"
BEST_ARTIFACT = "best.safetensors"
CURVES = "curves.png"
SNAPSHOTS = "snapshots"
"""A folder: :data:`PICTURES` and one file for each recorded step."""
PICTURES = "pictures.json"
"""In ``snapshots/``: what never changes from step to step."""
ANALYSIS = "analysis.json"
"""Precision and recall, confusions and the worst pictures of the best validation."""
REPORT = "report.html"


def snapshot_file(folder: Path, step: int) -> Path:
    """Where the snapshot of a step lies in ``snapshots/``."""
    return folder / f"{step:08d}.json"


def snapshot_files(folder: Path) -> dict[int, Path]:
    """The snapshots in a folder by step, in order; none if there is no folder."""
    files = {int(path.stem): path for path in folder.glob("*.json") if path.stem.isdecimal()}
    return dict(sorted(files.items()))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The events of a ``metrics.jsonl``; a last line cut off by a kill is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows
