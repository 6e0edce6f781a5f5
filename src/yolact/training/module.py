"""The training step: forward, criterion, backward, guarded optimizer step. No maths of its own."""

import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import lightning
import numpy as np
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn

from yolact.artifacts.metadata import ArtifactMetadata
from yolact.config.training import TrainingConfig
from yolact.errors import YolactError
from yolact.losses.criterion import YolactCriterion
from yolact.losses.matching import Matching
from yolact.model.build import pyramid_sizes
from yolact.model.yolact import Yolact
from yolact.structures import Batch, Target
from yolact.training.average import MovingAverage, Statistics
from yolact.training.precision import Precision
from yolact.training.processes import gathered, of_first, total
from yolact.training.schedule import Schedule

_MAX_SKIPS_IN_A_ROW = 50


class YolactModule(lightning.LightningModule):
    """Trains a :class:`Yolact` by Lightning with manual optimisation.

    Manual, because a step with a non-finite loss or gradient is skipped, after the gradients of all
    processes are in, so that every process decides alike; with fp16 it may be tried again before.
    A step that is skipped leaves no trace, in weights, statistics or random numbers.
    """

    def __init__(
        self,
        model: Yolact,
        metadata: ArtifactMetadata,
        config: TrainingConfig,
        schedule: Schedule,
    ) -> None:
        """Take a finished network; ``metadata`` travels in the checkpoints."""
        super().__init__()
        self.automatic_optimization = False
        self.model = model.to(memory_format=torch.channels_last)
        self.average = None if config.ema_decay is None else MovingAverage(model, config.ema_decay)
        # A function, not a module: names in checkpoints and artifacts stay as they are.
        self._forward = torch.compile(model.forward) if config.compile else model.forward
        self._frozen = frozen_modules(
            model, config.freeze, batch_norm=bool(config.freeze_batch_norm)
        )
        for part in self._frozen:
            part.requires_grad_(False)
        self.criterion = YolactCriterion(config.loss)
        self.metadata = metadata
        self.config = config
        self.schedule = schedule
        self.losses: dict[str, Tensor] = {}
        """The weighted terms of the latest step; empty if it was skipped."""
        self.matched: dict[str, Tensor] = {}
        """By pyramid level, ``P3`` first: positive anchors per image of the latest step, () each."""
        self.gradient_norm = 0.0
        self.skipped: list[tuple[int, tuple[int, ...]]] = []
        """(batches done, image ids) of every step that was skipped."""
        self.batches_done = 0
        """Optimizer steps so far, skipped ones included."""
        self.seconds = 0.0
        """Training time until the end of the latest step, earlier parts of a resumed run included."""
        per_cell = metadata.model.anchors.num_per_cell
        sizes = pyramid_sizes(metadata.model.image_size)
        self._levels = {f"P{i}": h * w * per_cell for i, (h, w) in enumerate(sizes, start=3)}
        self._skips_in_a_row = 0
        self._seconds_before = 0.0
        self._started = time.monotonic()

    @property
    def kept(self) -> Yolact:
        """The network that is measured and saved: the moving average, if there is one."""
        return self.model if self.average is None else self.average.network

    @property
    def progress(self) -> float:
        """Share of the run that is over, 0 to 1."""
        return self.schedule.progress(self.batches_done, self.seconds)

    def setup(self, stage: str) -> None:
        """The device is known now."""
        self._precision = Precision(self.config.precision, self.device.type)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """SGD as published, or AdamW, which does not decay biases and norms."""
        config = self.config
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        if config.optimizer == "sgd":
            return torch.optim.SGD(
                parameters,
                lr=config.learning_rate,
                momentum=config.momentum,
                weight_decay=config.weight_decay,
            )
        groups: list[dict[str, Any]] = [
            {"params": [p for p in parameters if p.ndim > 1]},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(
            groups, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )

    def on_fit_start(self) -> None:
        """Start the clock."""
        self._started = time.monotonic()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """What is frozen must not follow ``train()``, which Lightning calls."""
        for part in self._frozen:
            part.eval()

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One optimizer step, or none where it would spoil the weights."""
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)
        rate = self.schedule.learning_rate(self.batches_done, self.progress)
        for group in optimizer.param_groups:
            group["lr"] = rate

        parts = split_batch(batch, self.config.accumulate)
        statistics = Statistics(self.model)
        attempt = self._attempt(optimizer, parts)
        while attempt.overflowed and self._precision.try_smaller_scale():
            statistics.restore()
            attempt = self._attempt(optimizer, parts)
        if attempt.is_finite:
            optimizer.step()
            if self.average is not None:
                self.average.update_parameters(self.model)
            self._skips_in_a_row = 0
        else:
            statistics.restore()
            self._skip(gathered(attempt.suspects))
        self._precision.end_step(taken=attempt.is_finite)
        self.batches_done += 1
        self.seconds = of_first(self._seconds_before + time.monotonic() - self._started)

    def _attempt(self, optimizer: LightningOptimizer, parts: Sequence[Batch]) -> "_Attempt":
        """Forward and backward; leaves the gradient of the whole step, clipped."""
        # Random numbers of each step's own: a resumed run, or a second attempt, draws the same.
        torch.manual_seed(random_seed(self.config.seed, self.batches_done, self.global_rank))
        optimizer.zero_grad()
        anchors, processes = self.model.anchors, self.trainer.world_size
        matchings = [self.criterion.match(part.targets, anchors) for part in parts]
        positives = self._whole_step(self._positives_by_level(matchings))
        num_positives = positives.sum()
        num_images = sum(len(part.targets) for part in parts) * processes
        self.matched = dict(zip(self._levels, positives / num_images, strict=True))
        of_parts = []
        for part, matching in zip(parts, matchings, strict=True):
            images = part.images.contiguous(memory_format=torch.channels_last)
            with self._precision.forward():
                predictions = self._forward(images, with_semantics=True)
            losses = self.criterion(
                predictions,
                part.targets,
                anchors,
                self.model.mask_scorer,
                matching=matching,
                num_positives=num_positives,
                num_images=num_images,
            )
            terms = torch.stack(list(losses.values()))
            # Gradients are averaged over the processes, and are to be summed.
            self.manual_backward(self._precision.scale(terms.sum() * processes))
            of_parts.append(terms.detach())
        whole = self._whole_step(torch.stack(of_parts).sum(dim=0))
        self.losses = dict(zip(losses, whole, strict=True))

        self._precision.unscale(optimizer.optimizer)
        limit = math.inf if self.config.gradient_clip is None else self.config.gradient_clip
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        sums = [terms.sum() for terms in (*of_parts, whole)]
        *losses_of_parts, loss, self.gradient_norm = torch.stack([*sums, norm]).tolist()
        suspects = list(parts)
        if not math.isfinite(loss):  # the parts of another process may be at fault
            suspects = [
                part
                for part, value in zip(parts, losses_of_parts, strict=True)
                if not math.isfinite(value)
            ]
        return _Attempt(
            loss_is_finite=math.isfinite(loss),
            gradient_is_finite=math.isfinite(self.gradient_norm),
            suspects=tuple(i for part in suspects for i in part.image_ids),
        )

    def _positives_by_level(self, matchings: Sequence[Matching]) -> Tensor:
        """(levels,) float32: positive anchors in all parts of the step."""
        of_anchors = torch.cat([m.is_positive for m in matchings]).sum(dim=0)
        levels = torch.split(of_anchors, list(self._levels.values()))
        return torch.stack([level.sum() for level in levels]).float()

    def _whole_step(self, counts: Tensor) -> Tensor:
        """Sums over all processes."""
        return total(counts)

    def _skip(self, image_ids: tuple[int, ...]) -> None:
        self.losses = {}
        self.skipped.append((self.batches_done, image_ids))
        self._skips_in_a_row += 1
        if self._skips_in_a_row >= _MAX_SKIPS_IN_A_ROW:
            raise YolactError(
                f"training stopped: {_MAX_SKIPS_IN_A_ROW} steps in a row had a loss or gradient "
                f"that is not finite, the last with images {list(image_ids)}; "
                "a lower learning rate usually helps."
            )

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """Lightning does not move frozen dataclasses."""
        targets = tuple(
            Target(
                boxes=target.boxes.to(device),
                labels=target.labels.to(device),
                masks=target.masks.to(device),
                is_crowd=target.is_crowd.to(device),
            )
            for target in batch.targets
        )
        return Batch(batch.images.to(device), targets, batch.image_ids)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what a run needs to go on, in plain types."""
        checkpoint.setdefault("yolact", {}).update(
            metadata=self.metadata.to_json(),
            batches_done=self.batches_done,
            seconds=self.seconds,
            skipped=[(step, list(ids)) for step, ids in self.skipped],
            skips_in_a_row=self._skips_in_a_row,
            gradient_norm=self.gradient_norm,
            precision=self._precision.state_dict(),
        )

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up counts, clock and scale where they were."""
        state = checkpoint["yolact"]
        self.batches_done = state["batches_done"]
        self._seconds_before = self.seconds = state["seconds"]
        self.skipped = [(step, tuple(ids)) for step, ids in state["skipped"]]
        self._skips_in_a_row = state["skips_in_a_row"]
        self.gradient_norm = state["gradient_norm"]
        self._precision.load_state_dict(state["precision"])


class _Attempt(NamedTuple):
    """What came out of a forward and backward pass."""

    loss_is_finite: bool
    """In all parts and processes."""
    gradient_is_finite: bool
    suspects: tuple[int, ...]
    """Images of the parts with a loss that is not finite; all of the step's if there is none."""

    @property
    def is_finite(self) -> bool:
        return self.loss_is_finite and self.gradient_is_finite

    @property
    def overflowed(self) -> bool:
        """A gradient alone can be too large for fp16 because its scale is."""
        return self.loss_is_finite and not self.gradient_is_finite


def split_batch(batch: Batch, parts: int) -> list[Batch]:
    """Cut a batch into ``parts`` of the same size, in order; a small batch gives fewer or smaller."""
    batches, start = [], 0
    for images in batch.images.chunk(parts):
        cut = slice(start, start + len(images))
        batches.append(Batch(images, batch.targets[cut], batch.image_ids[cut]))
        start += len(images)
    return batches


def random_seed(*numbers: int) -> int:
    """One seed from several numbers, none of them negative; neighbours give unrelated ones."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def frozen_modules(model: nn.Module, parts: Sequence[str], *, batch_norm: bool) -> list[nn.Module]:
    """The named parts of ``model``, and with ``batch_norm`` every batch norm (spec 5.6).

    They stay as they are if they get no gradients and are in evaluation mode, which keeps running
    statistics.
    """
    modules = [model.get_submodule(part) for part in parts]
    if batch_norm:
        modules += [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    return modules
