"""How a network is trained, as frozen data (spec 5). Every field is a flag of ``yolact train``."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Literal

from yolact.errors import UsageError

REFERENCE_BATCH_SIZE = 8  # learning rates and step counts are stated for it (spec 5.6)
FREEZABLE = ("backbone", "fpn", "protonet", "head", "semantic_head", "mask_scorer")

_POSITIVE = (
    "epochs",
    "steps",
    "batch_size",
    "accumulate",
    "learning_rate",
    "gradient_clip",
    "validations",
    "validate_every",
    "early_stop",
)
_NOT_NEGATIVE = ("workers", "seed", "momentum", "weight_decay", "warmup_steps", "snapshots")
_SHARES = ("copy_paste", "mosaic", "closing")


@dataclass(frozen=True)
class LossConfig:
    """Weights and thresholds of the losses (spec 5.3, 5.4)."""

    box_weight: float = 1.5
    class_weight: float = 1.0
    mask_weight: float = 6.125
    semantic_weight: float = 1.0
    mask_iou_weight: float = 25.0
    """Of the predicted mask IoU; models without mask re-scoring have no such term."""
    positive_iou: float = 0.5
    """An anchor that overlaps an object by this much or more is a positive."""
    negative_iou: float = 0.4
    """An anchor that overlaps every object by less is background; in between it is ignored."""
    crowd_iou: float = 0.7
    """An anchor with more than this share of its area in a crowd region is ignored."""
    negatives_per_positive: int = 3
    max_mask_positives: int = 100
    """Positives per image whose masks are computed; a random subset stands for the rest."""


@dataclass(frozen=True)
class TrainingConfig:
    """One training run. The defaults are the paper's COCO schedule."""

    epochs: float | None = None
    """Length in passes over the training images."""
    steps: int | None = None
    """Length in optimizer steps at a batch size of 8; other batch sizes scale it."""
    max_time: str | None = None
    """Length as HH:MM:SS. Alone or with epochs or steps: whichever ends first. The schedule follows
    the clock, so that the learning rate still ends where it should."""
    batch_size: int = 8
    """Images per optimizer step, over all processes and parts together."""
    accumulate: int = 1
    """Parts in which a step's images pass the network, one after the other; saves memory."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Numbers of the forward and backward pass. Weights, losses and the optimizer stay fp32."""
    compile: bool = False
    """Compile the network with torch.compile; pays in long runs on a GPU."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """``sgd`` as published; ``adamw`` learns faster from random weights."""
    learning_rate: float = 1e-3
    """Peak value at a batch size of 8; other batch sizes scale it in proportion."""
    momentum: float = 0.9
    """Of SGD."""
    weight_decay: float = 5e-4
    """Pull of all weights towards zero; AdamW leaves biases and norms out."""
    schedule: Literal["steps", "cosine"] = "steps"
    """``steps``: times 0.1 at each of ``lr_steps``. ``cosine``: half a cosine down to 1 %."""
    lr_steps: tuple[float, ...] = (0.35, 0.75, 0.875, 0.9375)
    """Where the rate drops, as fractions of the run: 280k, 600k, 700k and 750k of 800k."""
    warmup_steps: int = 500
    """The rate rises linearly from a tenth over these steps."""
    gradient_clip: float | None = None
    """Largest norm of the whole gradient; longer ones are shortened to it."""
    ema_decay: float | None = None
    """Measure and keep a moving average of the weights that forgets this slowly, as 0.999."""
    sync_batch_norm: bool = False
    """Batch norm sees the images of all processes."""
    freeze_batch_norm: bool | None = None
    """Keep batch-norm statistics and weights fixed. By default only with fewer than 6 images per
    batch and a model that started from given weights."""
    freeze: tuple[str, ...] = ()
    """Parts of the network that stay exactly as they start: any of backbone, fpn, protonet, head,
    semantic_head, and mask_scorer of YOLACT++."""
    augmentation: Literal["original", "large-scale", "jitter", "flip", "none"] = "original"
    """``original``: distort colours, expand up to four times, crop, mirror. ``large-scale``: distort
    colours, zoom by a tenth to twice, mirror. ``jitter``: distort colours, zoom and shift a little,
    mirror; gets further in a short run. ``flip``: mirror only."""
    copy_paste: float = 0.0
    """Chance that an image gets objects of another one pasted in, with their masks."""
    mosaic: float = 0.0
    """Chance that an image is put together from four."""
    closing: float = 0.15
    """Share of the run, at its end, without mosaic."""
    validations: int = 10
    """How often AP is measured, evenly over the run and at its end."""
    validate_every: float | None = None
    """Epochs between measurements of AP, in place of a number of them."""
    early_stop: int | None = None
    """Stop after so many measurements in a row without a better mask AP."""
    snapshots: int = 4
    """Validation pictures that are looked at again and again, so that the report can show how the
    model learns; 0 for none."""
    workers: int = 2
    """Processes that prepare batches, for each training process; 0 prepares them in the main one."""
    cache_images: bool | None = None
    """Keep decoded pictures at hand. By default if all of them fit."""
    seed: int = 0
    """Decides initial weights, order of images, and augmentation."""
    deterministic: bool = False
    """Only operations that give the same bits every time; slower on a GPU."""
    loss: LossConfig = field(default_factory=LossConfig)

    def __post_init__(self) -> None:
        """Reject what cannot be trained."""
        if self.epochs is not None and self.steps is not None:
            raise UsageError("give the length in epochs or in steps, not both.")
        for name in _POSITIVE:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"{name} must be positive, not {value}.")
        for name in _NOT_NEGATIVE:
            if getattr(self, name) < 0:
                raise UsageError(f"{name} must not be negative, not {getattr(self, name)}.")
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} must lie in [0, 1], not {getattr(self, name)}.")
        if self.batch_size % self.accumulate:
            raise UsageError(
                f"batch_size {self.batch_size} cannot be split into {self.accumulate} equal parts: "
                "accumulate must divide it."
            )
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise UsageError(f"ema_decay must lie between 0 and 1, not {self.ema_decay}.")
        if self.max_time is not None:
            parse_duration(self.max_time)
        if unknown := [part for part in self.freeze if part not in FREEZABLE]:
            raise UsageError(f"cannot freeze {unknown[0]!r}; there are {', '.join(FREEZABLE)}.")


def fine_tuning(config: TrainingConfig) -> TrainingConfig:
    """The schedule for a small data set and a model that starts from given weights.

    Optimizer, losses and augmentation stay. The peak rate is half the one from random weights, after
    a short warm-up, and falls by half a cosine over a bounded number of epochs. What an earlier run
    froze is free again; batch norm is fixed for small batches, as always with given weights.
    ``docs/results.md`` has the trial behind the values.
    """
    return replace(
        config,
        epochs=50.0,
        steps=None,
        max_time=None,
        learning_rate=5e-4 if config.optimizer == "sgd" else 2e-3,
        schedule="cosine",
        warmup_steps=20,
        freeze_batch_norm=None,
        freeze=(),
    )


def parse_duration(text: str) -> timedelta:
    """Read HH:MM:SS.

    Raises:
        UsageError: If ``text`` has another form or is not positive.
    """
    parts = text.split(":")
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):
        raise UsageError(f"a duration is written HH:MM:SS, not {text!r}.")
    hours, minutes, seconds = map(int, parts)
    duration = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    if not duration:
        raise UsageError("a duration must be longer than zero.")
    return duration
