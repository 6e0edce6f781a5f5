"""What happens around the steps: validation, saving, stopping, the log, the progress bar."""

import csv
import io
import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import lightning
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor

from yolact.artifacts.artifact import write_artifact
from yolact.artifacts.run_directory import (
    BEST_ARTIFACT,
    LAST_CHECKPOINT,
    METRICS_LOG,
    METRICS_TABLE,
    read_metrics,
)
from yolact.evaluation.analysis import Analysis, analyse
from yolact.evaluation.coco import CocoEvaluator, Metrics
from yolact.files import replacing, write_text
from yolact.training.module import YolactModule
from yolact.training.processes import any_of, of_first

_ROW_EVERY_STEPS = 10
_SAY_EVERY_SECONDS = 5.0
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
        self.resume_at = resume_at
        before = read_metrics(self._path) if resume_at is not None and self._path.is_file() else []
        self.rows = [row for row in before if row["step"] <= (resume_at or 0)]
        self.dropped = before[len(self.rows) :]
        """What an earlier part of the run logged after the checkpoint."""
        self.listeners: list[Callable[[dict[str, Any]], None]] = []
        """Called with every row that is added."""
        if writes:
            write_text(self._path, "".join(json.dumps(row) + "\n" for row in self.rows))

    def add(self, row: dict[str, Any]) -> None:
        """Append one event; ``step`` is among its keys."""
        self.rows.append(row)
        if self._writes:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        for listener in self.listeners:
            listener(row)

    def write_table(self) -> None:
        """Bring ``metrics.csv`` up to date."""
        columns = dict.fromkeys(key for row in self.rows for key in row)
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        if self._writes:
            write_text(self._table, text.getvalue())


class Validation(lightning.Callback):
    """Measures AP as often as the schedule says; keeps the best weights by mask AP.

    Which validations are due follows from the step alone, so a resumed run has those that are missing.
    """

    def __init__(
        self,
        evaluate: Callable[[], CocoEvaluator],
        folder: Path,
        log: MetricsLog,
        *,
        patience: int | None = None,
    ) -> None:
        """``evaluate`` runs the network that the module keeps over the validation pictures.

        After ``patience`` validations in a row without a better mask AP the run is to end. Of
        several processes all evaluate, and get the same numbers.
        """
        self._evaluate = evaluate
        self._folder = folder
        self._log = log
        self._patience = patience
        self._done = 0
        self.best_ap = -1.0
        self.without_progress = 0
        """Validations since the best one."""
        self.latest: Metrics | None = None
        self.best: Metrics | None = None
        self.analysis_listeners: list[Callable[[int, Analysis], None]] = []
        """Called with the step and what lies behind its AP at every new best, in the first process."""
        self.evaluator: CocoEvaluator | None = None
        """Of the validation that goes on, for the listeners; its masks need memory only as long."""

    @property
    def gave_up(self) -> bool:
        """Whether there have been too many without a better AP."""
        return self._patience is not None and self.without_progress >= self._patience

    def on_save_checkpoint(
        self,
        trainer: lightning.Trainer,
        module: lightning.LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        """Remember the best."""
        checkpoint.setdefault("yolact", {}).update(
            best_ap=self.best_ap,
            best=None if self.best is None else self.best.to_dict(),
            without_progress=self.without_progress,
        )

    def on_load_checkpoint(
        self,
        trainer: lightning.Trainer,
        module: lightning.LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        """The best may be from before."""
        state = checkpoint["yolact"]
        self.best_ap = state["best_ap"]
        self.best = None if state["best"] is None else Metrics.from_dict(state["best"])
        self.without_progress = state["without_progress"]

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
        assert isinstance(module, YolactModule)
        due = self._due(module)
        if due > self._done and module.progress < 1:
            self._validate(trainer, module)
        self._done = due

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Validate what came out, unless the run was stopped before its end."""
        assert isinstance(module, YolactModule)
        if module.progress >= 1:
            self._validate(trainer, module)

    def _due(self, module: lightning.LightningModule) -> int:
        assert isinstance(module, YolactModule)
        return module.schedule.validations_due(module.batches_done, module.progress)

    def _validate(self, trainer: lightning.Trainer, module: YolactModule) -> None:
        module.eval()
        self.evaluator = self._evaluate()
        metrics = self.evaluator.compute()
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
        self.without_progress += 1
        if ap > self.best_ap:
            self.best_ap, self.best, self.without_progress = ap, metrics, 0
            if trainer.is_global_zero:
                write_artifact(
                    self._folder / BEST_ARTIFACT, module.kept.state_dict(), module.metadata
                )
                if self.analysis_listeners:
                    analysis = analyse(self.evaluator)
                    for listener in self.analysis_listeners:
                        listener(module.batches_done, analysis)
        self.evaluator = None
        trainer.strategy.barrier()


class Checkpoints(lightning.Callback):
    """Writes ``last.ckpt`` whole: at the start, every two minutes, at the end and on interruption."""

    def __init__(self, folder: Path) -> None:
        """Every other object saves its own part."""
        self._path = folder / LAST_CHECKPOINT
        self._saved = -math.inf

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
    """Ends the run when it is over, or after the current step on Ctrl+C or SIGTERM."""

    def __init__(self, validation: Validation) -> None:
        """``validation``, which comes before it, may give up."""
        self._validation = validation
        self._signalled = False
        self._previous: dict[int, Any] = {}
        self.finished = False
        """The run is over, by its length or because it no longer gets better."""

    @property
    def interrupted(self) -> bool:
        """Whether a signal ended the run before it was over."""
        return self._signalled and not self.finished

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Catch the signals for the time of a training, if this is the main thread.

        Raises:
            KeyboardInterrupt: If there was a second signal, or one before the first step.
        """
        try:
            self._listen()
            yield
        except SystemExit as error:  # how Lightning leaves on its own
            raise KeyboardInterrupt from error
        finally:
            for number, handler in self._previous.items():
                signal.signal(number, handler)

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Listen instead of Lightning, which leaves without saving."""
        self._listen()

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
        self.finished = module.progress >= 1 or self._validation.gave_up
        self._signalled = any_of(self._signalled)  # all processes stop after the same step
        if self.finished or self._signalled:
            trainer.should_stop = True

    def _listen(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                before = signal.signal(number, self._interrupt)
            except ValueError:  # not the main thread: whoever is there handles signals
                return
            self._previous.setdefault(number, before)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True
        signal.signal(number, self._previous[number])  # a second one acts at once


class Reporter(lightning.Callback):
    """Averages losses and matched anchors for the log, and shows them: a bar on a terminal, lines elsewhere."""

    def __init__(
        self, log: MetricsLog, validation: Validation, stop: Stop, *, steps_per_epoch: int
    ) -> None:
        """Everything goes to stderr."""
        self._log = log
        self._validation = validation
        self._stop = stop
        self._steps_per_epoch = steps_per_epoch
        self._sums: dict[str, Tensor | float] = {}
        self._count = 0
        self._said = time.monotonic()
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

    def on_save_checkpoint(
        self,
        trainer: lightning.Trainer,
        module: lightning.LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        """Remember the row that is not written yet."""
        sums = {name: float(total) for name, total in self._sums.items()}
        checkpoint.setdefault("yolact", {}).update(row_sums=sums, row_count=self._count)

    def on_load_checkpoint(
        self,
        trainer: lightning.Trainer,
        module: lightning.LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        """Go on with that row."""
        self._sums = dict(checkpoint["yolact"]["row_sums"])
        self._count = checkpoint["yolact"]["row_count"]

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
        """Sum up; every few steps write a row, every few seconds say where the run is."""
        assert isinstance(module, YolactModule)
        if module.losses:
            summands = {f"loss/{name}": value for name, value in module.losses.items()}
            summands |= {f"matched/{level}": value for level, value in module.matched.items()}
            for name, value in summands.items():
                self._sums[name] = self._sums.get(name, 0.0) + value
            self._count += 1
        is_row = module.batches_done % row_spacing(module.batches_done) == 0
        now = time.monotonic()
        if now - self._said >= _SAY_EVERY_SECONDS or self._stop.finished:
            self._show(module)
            self._said = now
        if is_row or self._stop.finished:
            self._add_row(module)

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Leave the terminal as it was and say what was out of the ordinary."""
        self._bar.stop()
        self._log.write_table()
        assert isinstance(module, YolactModule)
        if self._validation.gave_up:
            self._say(
                f"stopped early, at step {module.batches_done}: "
                f"{self._validation.without_progress} validations in a row were not better than "
                f"mask AP {self._validation.best_ap:.3f}."
            )
        if module.skipped:
            images = sorted({i for _, ids in module.skipped for i in ids})
            self._say(
                f"{len(module.skipped)} steps were skipped because their loss or gradient was not "
                f"finite; they held the images {images}."
            )

    def _means(self) -> dict[str, float]:
        return {name: float(total) / self._count for name, total in self._sums.items()}

    def _add_row(self, module: YolactModule) -> None:
        means = self._means()
        self._sums.clear()
        self._count = 0
        rate = module.optimizers().param_groups[0]["lr"]  # type: ignore[union-attr]
        losses = {name: value for name, value in means.items() if name.startswith("loss/")}
        matched = {name: round(means[name], 4) for name in means if name not in losses}
        if losses:
            losses["loss/total"] = sum(losses.values())
        norm = module.gradient_norm
        self._log.add(
            {
                "step": module.batches_done,
                "epoch": round(module.batches_done / self._steps_per_epoch, 3),
                "seconds": round(module.seconds, 2),
                "learning_rate": rate,
                **losses,
                "gradient_norm": norm if math.isfinite(norm) else None,
                **matched,
                "skipped_steps": len(module.skipped),
            }
        )

    def _show(self, module: YolactModule) -> None:
        epoch = module.batches_done / self._steps_per_epoch
        losses = "  ".join(
            f"{name.removeprefix('loss/')} {value:.3f}"
            for name, value in self._means().items()
            if name.startswith("loss/")
        )
        ap = self._validation.latest
        text = f"step {module.batches_done}  epoch {epoch:.1f}  {losses}"
        if ap is not None and ap.mask.ap is not None:
            text += f"  mask AP {ap.mask.ap:.3f}"
        if self._bar.disable:
            self._say(f"{module.progress:4.0%}  {text}")
        else:
            self._bar.update(self._task, completed=module.progress, description=text)

    def _say(self, text: str) -> None:
        self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)


def row_spacing(step: int) -> int:
    """Steps from one row of the log to the next: ten, and from step 10,000 on about a hundredth.

    By steps, not by the clock, so that a resumed run writes the same rows; ever fewer, so that a long
    run writes no more than some thousands.
    """
    return max(_ROW_EVERY_STEPS, int(10 ** (len(str(step)) - 3)))
