"""Where a run stands, from 0 to 1, and the learning rate there. Pure arithmetic."""

from dataclasses import dataclass
from math import cos, pi

from yolact.config.training import REFERENCE_BATCH_SIZE, TrainingConfig, parse_duration
from yolact.errors import UsageError

_WARMUP_START = 0.1  # of the peak rate (spec 5.6: 1e-4 of 1e-3)
_STEP_FACTOR = 0.1
_COSINE_FLOOR = 0.01


@dataclass(frozen=True)
class Schedule:
    """Length of a run in steps, in seconds, or both; whichever ends first."""

    config: TrainingConfig
    total_steps: int | None
    max_seconds: float | None
    steps_between_validations: int | None = None
    """None: a number of validations, evenly over the run."""

    @classmethod
    def from_config(cls, config: TrainingConfig, steps_per_epoch: int) -> "Schedule":
        """Turn epochs, or steps at the reference batch size, into optimizer steps.

        Raises:
            UsageError: If the configuration sets no length at all.
        """
        total = None
        if config.epochs is not None:
            total = max(1, round(config.epochs * steps_per_epoch))
        elif config.steps is not None:
            total = max(1, round(config.steps * REFERENCE_BATCH_SIZE / config.batch_size))
        seconds = None
        if config.max_time is not None:
            seconds = parse_duration(config.max_time).total_seconds()
        if total is None and seconds is None:
            raise UsageError("a run needs a length: epochs, steps or max_time.")
        between = None
        if config.validate_every is not None:
            between = max(1, round(config.validate_every * steps_per_epoch))
        return cls(config, total, seconds, between)

    def progress(self, step: int, seconds: float) -> float:
        """Share of the run that is over after ``step`` steps and ``seconds`` seconds, 0 to 1."""
        by_steps = step / self.total_steps if self.total_steps else 0.0
        by_time = seconds / self.max_seconds if self.max_seconds else 0.0
        return min(max(by_steps, by_time), 1.0)

    def validations_due(self, step: int, progress: float) -> int:
        """How many validations belong to the first ``step`` steps; the end has one of its own."""
        if self.steps_between_validations is not None:
            return step // self.steps_between_validations
        return int(progress * self.config.validations)

    def is_closing(self, step: int, seconds: float) -> bool:
        """Whether the step that follows ``step`` finished ones is in the last part of the run.

        Without a limit in seconds this depends on the step alone.
        """
        return self.progress(step, seconds) >= 1 - self.config.closing

    def learning_rate(self, step: int, progress: float) -> float:
        """Rate for the step that follows ``step`` finished ones."""
        config = self.config
        peak = config.learning_rate * config.batch_size / REFERENCE_BATCH_SIZE
        if config.schedule == "cosine":
            rate = peak * (_COSINE_FLOOR + (1 - _COSINE_FLOOR) * (1 + cos(pi * progress)) / 2)
        else:
            rate = peak * _STEP_FACTOR ** sum(progress >= at for at in config.lr_steps)
        if step < config.warmup_steps:
            rate *= _WARMUP_START + (1 - _WARMUP_START) * step / config.warmup_steps
        return rate
