"""Tells trackers what a run logs and sees. Knows neither their libraries nor what training is.

Rows come from :class:`MetricsLog`, snapshots and analyses from whoever takes them. Everything stays in
the run directory and on this machine unless the user's environment says otherwise.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolact.config.serialize import flat
from yolact.errors import UsageError, YolactError
from yolact.evaluation.analysis import Analysis
from yolact.files import write_text
from yolact.reporting.snapshots import Snapshot
from yolact.training.callbacks import MetricsLog
from yolact.training.trackers.mlflow import MLflow
from yolact.training.trackers.tensorboard import TensorBoard
from yolact.training.trackers.tracker import Status, Tracker
from yolact.training.trackers.wandb import WeightsAndBiases

TRACKED_RUNS = "trackers.json"
"""In the run directory: under which identity each tracker knows the run."""

TRACKERS: dict[str, Callable[[], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
    "mlflow": MLflow,
}
"""By the name that ``--tracker`` takes, which is also that of the extra to install."""


@dataclass
class _Tracked:
    """A tracker at work."""

    tracker: Tracker
    record: dict[str, Any]
    """What ``trackers.json`` says of it."""
    reached: dict[str, int] = field(default_factory=dict)
    """By key, the last step that the tracker has and cannot take back: of rows, from an earlier part."""

    def log(self, row: Mapping[str, Any]) -> None:
        step = row["step"]
        numbers = {
            key: value
            for key, value in row.items()
            if key != "step" and isinstance(value, int | float) and step > self.reached.get(key, -1)
        }
        if numbers:
            self.tracker.log(step, numbers)

    def show(self, kind: str, step: int, act: Callable[[Tracker], None]) -> None:
        if step > self.reached.get(kind, -1):
            act(self.tracker)
            self.record["reached"][kind] = step


class Trackers:
    """The trackers of one run. One that fails while training runs is dropped, with a sentence."""

    def __init__(self, names: Sequence[str]) -> None:
        """Import what is named.

        Raises:
            UsageError: If a package is not installed; the text names the extra.
        """
        self._idle: dict[str, Tracker] = {}
        self._active: dict[str, _Tracked] = {}
        self._folder = Path()
        self._records: dict[str, dict[str, Any]] = {}
        for name in names:
            try:
                self._idle[name] = TRACKERS[name]()
            except ImportError as error:
                raise UsageError(
                    f"the tracker {name} is not installed ({error}): pip install 'yolact[{name}]'."
                ) from error

    @contextmanager
    def following(
        self,
        log: MetricsLog,
        folder: Path,
        settings: Mapping[str, Any],
        is_interrupted: Callable[[], bool],
    ) -> Iterator[None]:
        """Pass on every row that ``log`` gets while the block runs.

        A run that a tracker already knows, by ``trackers.json``, goes on there; one that it does not
        know is told from the beginning.

        Args:
            log: The run's log, as it goes on.
            folder: The run directory.
            settings: What the run is made of; may be nested.
            is_interrupted: Whether a block that ended without an error was interrupted.

        Raises:
            YolactError: If a tracker cannot begin.
        """
        try:
            self._start(log, folder, flat(settings))
            log.listeners.append(self._log)
            yield
        except KeyboardInterrupt:
            self._finish("interrupted")
            raise
        except BaseException:
            self._finish("failed")
            raise
        self._finish("interrupted" if is_interrupted() else "finished")

    def show(self, snapshot: Snapshot) -> None:
        """Pass on a snapshot, while a run is followed; each tracker gets one of a step once."""
        self._show("snapshot", snapshot.step, lambda tracker: tracker.show(snapshot))

    def show_analysis(self, step: int, analysis: Analysis) -> None:
        """Pass on where the AP of a step comes from, likewise."""
        self._show("analysis", step, lambda tracker: tracker.show_analysis(step, analysis))

    def _show(self, kind: str, step: int, act: Callable[[Tracker], None]) -> None:
        def show(tracked: _Tracked) -> None:
            tracked.show(kind, step, act)
            _write_tracked_runs(self._folder, self._records)  # at once: a kill forgets the rest

        self._each(show)

    def _start(self, log: MetricsLog, folder: Path, settings: Mapping[str, Any]) -> None:
        records = read_tracked_runs(folder) if log.resume_at is not None else {}
        self._folder, self._records = folder, records
        for record in records.values():
            record["reached"] = _last_steps(record["reached"], log.dropped)
        if records:
            # The log has forgotten what it dropped: remember that even if a tracker cannot start.
            _write_tracked_runs(folder, records)
        for name, tracker in self._idle.items():
            known = records.get(name)
            try:
                identity = None if known is None else known["run"]
                start = tracker.start(folder, settings, identity, log.resume_at or 0)
            except Exception as error:  # whatever these libraries raise
                raise YolactError(
                    f"the tracker {name} cannot start: {_first_line(error)}"
                ) from error
            if known is None:
                records[name] = {"run": start.identity, "reached": {}}
            tracked = self._active[name] = _Tracked(tracker, records[name])
            if not tracker.takes_back:
                tracked.reached = records[name]["reached"]
            if known is None:
                for row in log.rows:
                    tracked.log(row)
            _say(f"{name}: {start.hint}")
        if self._active:
            _write_tracked_runs(folder, records)

    def _log(self, row: Mapping[str, Any]) -> None:
        self._each(lambda tracked: tracked.log(row))

    def _finish(self, status: Status) -> None:
        self._each(lambda tracked: tracked.tracker.finish(status))
        self._active.clear()

    def _each(self, act: Callable[[_Tracked], None]) -> None:
        for name, tracked in list(self._active.items()):
            try:
                act(tracked)
            except Exception as error:  # whatever these libraries raise
                del self._active[name]
                _say(f"the tracker {name} failed, and is left out from here: {_first_line(error)}")


def tracker_names(chosen: str | Sequence[str] | None, folder: Path | None) -> tuple[str, ...]:
    """The trackers that a run shall have.

    Args:
        chosen: Names, or one text of names between commas; ``none`` is no tracker. None is the
            default: those the run in ``folder`` has.
        folder: The directory of a run being resumed; None for a new run.

    Raises:
        UsageError: If there is no such tracker.
    """
    if chosen is None:
        return () if folder is None else tuple(read_tracked_runs(folder))
    words = chosen.split(",") if isinstance(chosen, str) else chosen
    names = dict.fromkeys(word.strip() for word in words)
    if list(names) == ["none"]:
        return ()
    for name in names:
        if name not in TRACKERS:
            raise UsageError(
                f"there is no tracker {name!r}; there are {', '.join(TRACKERS)}, and none."
            )
    return tuple(names)


def read_tracked_runs(folder: Path) -> dict[str, dict[str, Any]]:
    """By tracker, what a run directory remembers: its identity there, and what cannot be taken back.

    Raises:
        UsageError: If the file is not what :class:`Trackers` writes.
    """
    path = folder / TRACKED_RUNS
    if not path.is_file():
        return {}
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
        return {
            name: {"run": str(records[name]["run"]), "reached": dict(records[name]["reached"])}
            for name in TRACKERS
            if name in records
        }
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} is broken; delete it, and the run goes on as a new one in its trackers."
        ) from error


def _write_tracked_runs(folder: Path, records: Mapping[str, Any]) -> None:
    write_text(folder / TRACKED_RUNS, json.dumps(records, indent=1) + "\n")


def _last_steps(before: Mapping[str, int], dropped: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    last = dict(before)
    for row in dropped:
        for key in row:
            last[key] = max(row["step"], last.get(key, 0))
    return last


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0] or type(error).__name__


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
