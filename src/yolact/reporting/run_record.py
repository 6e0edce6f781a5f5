"""A run directory, read for its pages: whatever is there, however the run ended."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any


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
    """``metrics.jsonl``: rows of training have ``loss/…``, rows of validations ``mask/…`` and ``box/…``."""
    analysis: dict[str, Any] | None
    """``analysis.json``."""
    pictures: tuple[dict[str, Any], ...]
    """``snapshots/pictures.json``."""
    snapshots: tuple[Path, ...]
    """Files of the recorded steps, in order; read them one at a time."""


def read_run(folder: Path) -> RunRecord:
    """Read a run directory, finished or not.

    Raises:
        UsageError: If ``folder`` holds no run.
    """
    raise NotImplementedError
