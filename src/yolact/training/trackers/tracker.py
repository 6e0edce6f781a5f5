"""What every service does that keeps runs, and what they share."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from yolact.evaluation.analysis import Analysis
from yolact.reporting.snapshots import Snapshot

PROJECT = "yolact"
"""Of W&B and MLflow, unless the user's environment names another."""

Status = Literal["finished", "interrupted", "failed"]


class Start(NamedTuple):
    """What a tracker says when it has begun."""

    identity: str
    """The tracker's own name of the run; a resumed run goes on under it."""
    hint: str
    """Where the run can be looked at, for people."""


class Tracker(Protocol):
    """One service that keeps runs. Any method may raise; that never ends a training that has begun."""

    takes_back: bool
    """Whether a resumed run can withdraw what lies after its checkpoint."""

    def start(
        self, folder: Path, settings: Mapping[str, Any], identity: str | None, resume_at: int
    ) -> Start:
        """Begin a run, or go on with ``identity`` after step ``resume_at``.

        Args:
            folder: The run directory.
            settings: What the run is made of, flat.
            identity: What an earlier ``start`` returned for this run; None for a new one.
            resume_at: Steps done; 0 for a new run.
        """
        ...

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Take one row of ``metrics.jsonl``."""
        ...

    def show(self, snapshot: Snapshot) -> None:
        """Take what the model makes of the watched pictures; at steps that only go up."""
        ...

    def show_analysis(self, step: int, analysis: Analysis) -> None:
        """Take where the AP of the best model so far comes from; at steps that only go up."""
        ...

    def finish(self, status: Status) -> None:
        """Write what is left, and how the run ended."""
        ...


@contextmanager
def environment(**defaults: str) -> Iterator[None]:
    """Variables for the block, where the user has not set them: these libraries ask nobody else."""
    missing = {name: value for name, value in defaults.items() if name not in os.environ}
    os.environ.update(missing)
    try:
        yield
    finally:
        for name in missing:
            os.environ.pop(name, None)
