"""A run directory, read for its pages: whatever is there, however the run ended."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from yolact.artifacts.run_directory import (
    ABOUT,
    ANALYSIS,
    METRICS_LOG,
    PICTURES,
    RUN_CONFIG,
    SNAPSHOTS,
    read_metrics,
    snapshot_files,
)
from yolact.config.serialize import flat
from yolact.errors import UsageError


@dataclass(frozen=True)
class RunRecord:
    """Everything a page says about one run; parts that are not there are empty or None."""

    folder: Path
    name: str
    """What pages call it."""
    settings: dict[str, Any]
    """``config.yaml``, flat: ``training.learning_rate`` and so on."""
    about: dict[str, Any]
    """``about.json``."""
    rows: tuple[dict[str, Any], ...]
    """``metrics.jsonl``: rows of training have ``loss/…``, rows of validations ``mask/…`` and ``box/…``.
    What was not finite is None."""
    analysis: dict[str, Any] | None
    """``analysis.json``."""
    pictures: tuple[dict[str, Any], ...]
    """``snapshots/pictures.json``."""
    snapshots: tuple[Path, ...]
    """Files of the recorded steps, in order; read them one at a time."""

    @cached_property
    def validations(self) -> tuple[dict[str, Any], ...]:
        """The rows of validations, in order."""
        return tuple(row for row in self.rows if "mask/ap" in row)

    @cached_property
    def best(self) -> dict[str, Any] | None:
        """The validation with the highest mask AP, the first of equals; None without any AP."""
        known = [row for row in self.validations if row["mask/ap"] is not None]
        return max(known, key=lambda row: float(row["mask/ap"]), default=None)

    def series(self, key: str) -> tuple[list[int], list[float], list[float | None]]:
        """Steps, seconds and values of all rows that have ``key``."""
        rows = [row for row in self.rows if key in row]
        return (
            [row["step"] for row in rows],
            [row["seconds"] for row in rows],
            [row[key] for row in rows],
        )


def read_run(folder: Path) -> RunRecord:
    """Read a run directory, finished or not.

    Raises:
        UsageError: If ``folder`` holds no run.
    """
    if not _holds_run(folder):
        raise UsageError(f"{folder} holds no run: there is neither {METRICS_LOG} nor {RUN_CONFIG}.")
    log = folder / METRICS_LOG
    pictures = _document(folder / SNAPSHOTS / PICTURES)
    about, analysis = _document(folder / ABOUT), _document(folder / ANALYSIS)
    return RunRecord(
        folder=folder,
        name=folder.resolve().name,
        settings=_settings(folder / RUN_CONFIG),
        about=about if isinstance(about, dict) else {},
        rows=tuple(_finite(row) for row in read_metrics(log) if _is_event(row))
        if log.is_file()
        else (),
        analysis=analysis if isinstance(analysis, dict) else None,
        pictures=tuple(pictures) if isinstance(pictures, list) else (),
        snapshots=tuple(snapshot_files(folder / SNAPSHOTS).values()),
    )


def find_runs(folders: Iterable[Path]) -> list[Path]:
    """The run directories that ``folders`` are or directly hold, each once, the held ones by name.

    Raises:
        UsageError: If one of them neither is nor holds a run.
    """
    runs: dict[Path, Path] = {}
    for folder in folders:
        held = [folder] if _holds_run(folder) else sorted(filter(_holds_run, folder.glob("*/")))
        if not held:
            what = "holds no run" if folder.is_dir() else "is no folder"
            raise UsageError(f"{folder} {what}: name a run directory, or a folder of them.")
        for run in held:
            runs.setdefault(run.resolve(), run)
    return list(runs.values())


def _holds_run(folder: Path) -> bool:
    """Whether ``folder`` is a run directory."""
    return (folder / METRICS_LOG).is_file() or (folder / RUN_CONFIG).is_file()


def _is_event(row: Any) -> bool:
    return isinstance(row, dict) and "step" in row and "seconds" in row


def _finite(row: Mapping[str, Any]) -> dict[str, Any]:
    """A page's data is JSON, which has no NaN."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in row.items()
    }


def _document(path: Path) -> Any:
    """What a JSON file holds; None if there is none that can be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _settings(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return flat(document) if isinstance(document, dict) else {}
