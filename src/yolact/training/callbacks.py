"""What happens around the steps: validation, saving, stopping, the log, the progress bar."""

import csv
import io
import json
import math
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import lightning
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor

from yolact.artifacts.artifact import write_artifact
from yolact.evaluation.coco import Metrics
from yolact.files import replacing, write_text
from yolact.inference.load import BEST_ARTIFACT
from yolact.training.module import YolactModule
from yolact.training.processes import any_of, of_first

LAST_CHECKPOINT = "last.ckpt"
METRICS_LOG = "metrics.jsonl"
METRICS_TABLE = "metrics.csv"

_LOG_EVERY_SECONDS = 5.0
_SAVE_EVERY_SECONDS = 120.0


class MetricsLog:
    """``metrics.jsonl``, one line per event, and the same as a table in ``metrics.csv``."""

    def __init__(self, folder: Path, *, resume_at: int | None = None, writes: bool = True) -> None:
        """Start a new log, or go on with one: lines after step ``resume_at`` are dropped.

        Of several processes one writes it; the others keep the rows to themselves.
        """
        self._writes = writes
        self._path = folder / METRICS_LOG
        self._table = folder / METRICS_TABLE
        self.rows: list[dict[str, Any]] = []
        if resume_at is not None and self._path.is_file():
            self.rows = [row for row in read_metrics(self._path) if row["step"] <= resume_at]
        if writes:
            write_text(self._path, "".join(json.dumps(row) + "\n" for row in self.rows))

    def add(self, row: dict[str, Any]) -> None:
        """Append one event; ``step`` is among its keys."""
        self.rows.append(row)
        if self._writes:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")

    def write_table(self) -> None:
        """Bring ``metrics.csv`` up to date."""
        columns = dict.fromkeys(key for row in self.rows for key in row)
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        if self._writes:
            write_text(self._table, text.getvalue())


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The events of a ``metrics.jsonl``; a last line cut off by a kill is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


class Validation(lightning.Callback):
    """Measures AP ``times`` times, evenly over the run; keeps the best weights by mask AP."""

    def __init__(
        self,
        evaluate: Callable[[], Metrics],
        folder: Path,
        log: MetricsLog,
        *,
        times: int,
        best_ap: float = -1.0,
    ) -> None:
        """``evaluate`` measures the module's network as it is; ``best_ap`` is that of a resumed run.

        Of several processes all evaluate, and get the same numbers.
        """
        self._evaluate = evaluate
        self._folder = folder
        self._log = log
        self._times = times
        self._done: int | None = None
        self.best_ap = best_ap
        self.latest: Metrics | None = None
        self.best: Metrics | None = None

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """A resumed run does not repeat the validations it has behind it."""
        self._done = self._due(module)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Validate when another part of the run is over; the run's end is ``on_train_end``'s."""
        due = self._due(module)
        if self._done is not None and self._done < due < self._times:
            self._done = due
            self._validate(trainer, module)

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Validate what came out, unless the user wanted to stop."""
        assert isinstance(module, YolactModule)
        if module.progress >= 1:
            self._validate(trainer, module)

    def _due(self, module: lightning.LightningModule) -> int:
        assert isinstance(module, YolactModule)
        return int(module.progress * self._times)

    def _validate(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        assert isinstance(module, YolactModule)
        module.eval()
        metrics = self._evaluate()
        module.train()
        self.latest = metrics
        self._log.add(
            {
                "step": module.batches_done,
                "seconds": round(module.seconds, 2),
                **{f"mask/{k}": v for k, v in metrics.to_dict()["mask"].items()},
                **{f"box/{k}": v for k, v in metrics.to_dict()["box"].items()},
            }
        )
        self._log.write_table()
        ap = metrics.mask.ap or 0.0
        if ap > self.best_ap:
            self.best_ap, self.best = ap, metrics
            if trainer.is_global_zero:
                write_artifact(
                    self._folder / BEST_ARTIFACT, module.model.state_dict(), module.metadata
                )
        trainer.strategy.barrier()


class Checkpoints(lightning.Callback):
    """Writes ``last.ckpt`` whole: at the start, every two minutes, at the end and on interruption."""

    def __init__(self, folder: Path, validation: Validation) -> None:
        """``validation`` knows the best AP, which a resumed run must not forget."""
        self._path = folder / LAST_CHECKPOINT
        self._validation = validation
        self._saved = -math.inf

    def on_save_checkpoint(
        self,
        trainer: lightning.Trainer,
        module: lightning.LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        """Remember the best AP."""
        checkpoint.setdefault("yolact", {})["best_ap"] = self._validation.best_ap

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """From the first moment on there is something to resume from."""
        self._save(trainer)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save now and then."""
        if of_first(time.monotonic() - self._saved) >= _SAVE_EVERY_SECONDS:
            self._save(trainer)

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Save what came out."""
        self._save(trainer)

    def _save(self, trainer: lightning.Trainer) -> None:
        if trainer.is_global_zero:
            with replacing(self._path) as temporary:
                trainer.save_checkpoint(temporary)
        else:  # Lightning wants every process to take part, but lets the first one write
            trainer.save_checkpoint(self._path)
        self._saved = time.monotonic()


class Stop(lightning.Callback):
    """Ends the run when its length is reached, or after the current step on Ctrl+C or SIGTERM."""

    def __init__(self) -> None:
        """Signals are caught only while training runs."""
        self.interrupted = False
        self._previous: dict[int, Any] = {}

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Catch the signals, if this is the main thread."""
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._previous[number] = signal.signal(number, self._interrupt)
            except ValueError:  # not the main thread: whoever is there handles signals
                return

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.interrupted = True
        signal.signal(number, self._previous[number])  # a second one acts at once

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Tell Lightning to stop."""
        assert isinstance(module, YolactModule)
        self.interrupted = any_of(self.interrupted)  # all processes stop after the same step
        if self.interrupted or module.progress >= 1:
            trainer.should_stop = True

    def teardown(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, stage: str
    ) -> None:
        """Give the signals back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)


class Reporter(lightning.Callback):
    """Averages the losses for the log, and shows them: a bar on a terminal, lines elsewhere."""

    def __init__(self, log: MetricsLog, validation: Validation, *, steps_per_epoch: int) -> None:
        """Everything goes to stderr."""
        self._log = log
        self._validation = validation
        self._steps_per_epoch = steps_per_epoch
        self._sums: dict[str, Tensor | float] = defaultdict(float)
        self._count = 0
        self._reported = time.monotonic()
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f}%"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=1.0)

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Show the bar."""
        self._bar.start()

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Sum up; every few seconds report."""
        assert isinstance(module, YolactModule)
        for name, value in module.losses.items():
            self._sums[name] = self._sums[name] + value.detach()
        self._count += 1
        now = time.monotonic()
        if now - self._reported >= _LOG_EVERY_SECONDS or module.progress >= 1:
            self._report(module)
            self._reported = now

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Leave the terminal as it was and say what was skipped."""
        self._bar.stop()
        self._log.write_table()
        assert isinstance(module, YolactModule)
        if module.skipped:
            images = sorted({i for _, ids in module.skipped for i in ids})
            self._say(
                f"{len(module.skipped)} steps were skipped because their loss or gradient was not "
                f"finite; they held the images {images}."
            )

    def _report(self, module: YolactModule) -> None:
        means = {name: float(total) / self._count for name, total in self._sums.items()}
        self._sums.clear()
        self._count = 0
        step, epoch = module.batches_done, module.batches_done / self._steps_per_epoch
        rate = module.optimizers().param_groups[0]["lr"]  # type: ignore[union-attr]
        self._log.add(
            {
                "step": step,
                "epoch": round(epoch, 3),
                "seconds": round(module.seconds, 2),
                "learning_rate": rate,
                **{f"loss/{name}": value for name, value in means.items()},
                "loss/total": sum(means.values()),
                "gradient_norm": module.gradient_norm,
                "skipped_steps": len(module.skipped),
            }
        )
        losses = "  ".join(f"{name} {value:.3f}" for name, value in means.items())
        ap = self._validation.latest
        text = f"step {step}  epoch {epoch:.1f}  {losses}"
        if ap is not None and ap.mask.ap is not None:
            text += f"  mask AP {ap.mask.ap:.3f}"
        if self._bar.disable:
            self._say(f"{module.progress:4.0%}  {text}")
        else:
            self._bar.update(self._task, completed=module.progress, description=text)

    def _say(self, text: str) -> None:
        self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
