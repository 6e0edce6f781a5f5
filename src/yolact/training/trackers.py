"""Where the numbers of ``metrics.jsonl`` go besides: TensorBoard, Weights & Biases, MLflow.

The only file that knows these libraries; each is imported when its tracker is asked for. It knows
nothing of training: rows come from :class:`MetricsLog`, and everything stays in the run directory and on
this machine unless the user's environment says otherwise.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from yolact.errors import UsageError, YolactError
from yolact.files import write_text
from yolact.training.callbacks import MetricsLog

TRACKED_RUNS = "trackers.json"
"""In the run directory: under which identity each tracker knows the run."""

_PROJECT = "yolact"  # of W&B and MLflow, unless the user's environment names another
_LONGEST_PARAMETER = 6000  # characters; MLflow takes no more

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

    def finish(self, status: Status) -> None:
        """Write what is left, and how the run ended."""
        ...


class TensorBoard:
    """Event files in ``tensorboard/``; they hold float32."""

    takes_back = True

    def __init__(self) -> None:
        """Import the library."""
        from torch.utils.tensorboard import SummaryWriter

        self._open = SummaryWriter

    def start(
        self, folder: Path, settings: Mapping[str, Any], identity: str | None, resume_at: int
    ) -> Start:
        """Settings are a table among the texts; on resume, later events are withdrawn."""
        place = folder / "tensorboard"
        purge = None if identity is None else resume_at + 1
        self._writer = self._open(str(place), purge_step=purge)
        rows = "".join(f"| {key} | {value} |\n" for key, value in settings.items())
        self._step = resume_at
        self._text("settings", f"| setting | value |\n|---|---|\n{rows}")
        return Start(place.name, f"tensorboard --logdir {place}")

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Flushed at once: rows come every few seconds, and a kill must not cost them."""
        for key, value in numbers.items():
            self._writer.add_scalar(key, value, step)
        self._writer.flush()
        self._step = step

    def finish(self, status: Status) -> None:
        """The status is a text at the last step."""
        self._text("status", status)
        self._writer.close()

    def _text(self, tag: str, text: str) -> None:
        self._writer.add_text(tag, text, self._step)
        self._writer.flush()


class WeightsAndBiases:
    """A W&B run in ``wandb/``: offline unless WANDB_MODE says otherwise.

    Every row is a row of W&B's history, with our ``step`` in it as the axis of every chart: W&B's own
    count refuses to go back, which a resumed run may have to.
    """

    takes_back = False

    def __init__(self) -> None:
        """Import the library."""
        with _environment(WANDB_ERROR_REPORTING="false"):
            import wandb
        self._wandb = wandb

    def start(
        self, folder: Path, settings: Mapping[str, Any], identity: str | None, resume_at: int
    ) -> Start:
        """Nothing is asked on a terminal unless the user wants to go online."""
        mode: Any = os.environ.get("WANDB_MODE", "offline")
        # Otherwise W&B reports on itself to its maker, even offline.
        with _environment(WANDB_ERROR_REPORTING="false"):
            self._run = self._wandb.init(
                mode=mode,
                dir=os.environ.get("WANDB_DIR", str(folder)),
                project=os.environ.get("WANDB_PROJECT", _PROJECT),
                name=os.environ.get("WANDB_NAME", folder.name),
                id=identity,
                resume=None if identity is None else "allow",
                config=dict(settings),
                allow_val_change=True,
                settings=self._wandb.Settings(
                    console="off",  # stdout belongs to the result
                    silent=True,
                    reinit="create_new",  # a run that the user has open stays the user's
                ),
            )
        self._run.define_metric("*", step_metric="step")
        if self._run.offline:
            runs = Path(self._run.dir).parent.parent / "offline-run-*"
            return Start(self._run.id, f"offline; to upload: wandb sync {runs}")
        return Start(self._run.id, self._run.url or self._run.dir)

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """One row of history."""
        self._run.log({"step": step, **numbers})

    def finish(self, status: Status) -> None:
        """The status stands in the summary, and W&B's own follows from the exit code."""
        self._run.summary["status"] = status
        self._run.finish(exit_code={"finished": 0, "interrupted": 130, "failed": 1}[status])


class MLflow:
    """An MLflow run in the file store ``mlruns/``, or where MLFLOW_TRACKING_URI points."""

    takes_back = False

    def __init__(self) -> None:
        """Import the library."""
        with _environment(MLFLOW_DISABLE_TELEMETRY="true"):
            from mlflow.entities import Metric
            from mlflow.tracking import MlflowClient
        self._open, self._metric = MlflowClient, Metric

    def start(
        self, folder: Path, settings: Mapping[str, Any], identity: str | None, resume_at: int
    ) -> Start:
        """Parameters are those of the first start: MLflow does not let them change."""
        store = (folder / "mlruns").absolute().as_uri()
        uri = os.environ.get("MLFLOW_TRACKING_URI", store)
        # MLflow keeps its file store as it is and wants to hear that this is known.
        with _environment(MLFLOW_ALLOW_FILE_STORE="true"):
            self._client = self._open(tracking_uri=uri)
        if identity is None:
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT)
            known = self._client.get_experiment_by_name(name)
            experiment = known.experiment_id if known else self._client.create_experiment(name)
            self._run = self._client.create_run(experiment, run_name=folder.name).info.run_id
            for key, value in settings.items():
                self._client.log_param(self._run, key, str(value)[:_LONGEST_PARAMETER])
        else:
            self._run = identity
            self._client.update_run(self._run, status="RUNNING")
        return Start(self._run, f"run {self._run} in {uri}")

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """One batch."""
        now = int(time.time() * 1000)
        metrics = [self._metric(key, value, now, step) for key, value in numbers.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def finish(self, status: Status) -> None:
        """MLflow has a word for each."""
        words = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
        self._client.set_terminated(self._run, words[status])


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
    reached: dict[str, int] = field(default_factory=dict)
    """By key, the last step that the tracker has of an earlier part and cannot take back."""

    def log(self, row: Mapping[str, Any]) -> None:
        step = row["step"]
        numbers = {
            key: value
            for key, value in row.items()
            if key != "step" and isinstance(value, int | float) and step > self.reached.get(key, -1)
        }
        if numbers:
            self.tracker.log(step, numbers)


class Trackers:
    """The trackers of one run. One that fails while training runs is dropped, with a sentence."""

    def __init__(self, names: Sequence[str]) -> None:
        """Import what is named.

        Raises:
            UsageError: If a package is not installed; the text names the extra.
        """
        self._idle: dict[str, Tracker] = {}
        self._active: dict[str, _Tracked] = {}
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
            self._start(log, folder, _flat(settings))
            log.listeners.append(self._log)
            yield
        except KeyboardInterrupt:
            self._finish("interrupted")
            raise
        except BaseException:
            self._finish("failed")
            raise
        self._finish("interrupted" if is_interrupted() else "finished")

    def _start(self, log: MetricsLog, folder: Path, settings: Mapping[str, Any]) -> None:
        records = read_tracked_runs(folder) if log.resume_at is not None else {}
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
            tracked = self._active[name] = _Tracked(tracker)
            if known is None:
                records[name] = {"run": start.identity, "reached": {}}
                for row in log.rows:
                    tracked.log(row)
            elif not tracker.takes_back:
                tracked.reached = known["reached"]
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


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


@contextmanager
def _environment(**defaults: str) -> Iterator[None]:
    """Variables for the block, where the user has not set them: these libraries ask nobody else."""
    missing = {name: value for name, value in defaults.items() if name not in os.environ}
    os.environ.update(missing)
    try:
        yield
    finally:
        for name in missing:
            os.environ.pop(name, None)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0] or type(error).__name__


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
