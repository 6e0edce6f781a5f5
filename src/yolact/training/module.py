"""The training step: forward, criterion, backward, guarded optimizer step. No maths of its own."""

import math
import time
from collections.abc import Sequence
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from yolact.artifacts.metadata import ArtifactMetadata
from yolact.config.training import TrainingConfig
from yolact.errors import YolactError
from yolact.losses.criterion import YolactCriterion
from yolact.model.yolact import Yolact
from yolact.structures import Batch, Target
from yolact.training.processes import gathered, of_first, total
from yolact.training.schedule import Schedule

_MAX_SKIPS_IN_A_ROW = 50


class YolactModule(lightning.LightningModule):
    """Trains a :class:`Yolact` by Lightning with manual optimisation.

    Manual, because a step with a non-finite loss or gradient is skipped, after the gradients of all
    processes are in, so that every process decides alike.
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
        """The weighted terms of the latest step."""
        self.gradient_norm = 0.0
        self.skipped: list[tuple[int, tuple[int, ...]]] = []
        """(batches done, image ids) of every step that was skipped."""
        self.batches_done = 0
        self.seconds = 0.0
        """Training time until the end of the latest step, earlier parts of a resumed run included."""
        self._skips_in_a_row = 0
        self._seconds_before = 0.0
        self._started = time.monotonic()

    @property
    def progress(self) -> float:
        """Share of the run that is over, 0 to 1."""
        return self.schedule.progress(self.batches_done, self.seconds)

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
        assert isinstance(optimizer, lightning.pytorch.core.optimizer.LightningOptimizer)
        rate = self.schedule.learning_rate(self.batches_done, self.progress)
        for group in optimizer.param_groups:
            group["lr"] = rate

        images = batch.images.contiguous(memory_format=torch.channels_last)
        predictions = self.model(images, with_semantics=True)
        anchors, processes = self.model.anchors, self.trainer.world_size
        losses = self.criterion(
            predictions,
            batch.targets,
            anchors,
            self.model.mask_scorer,
            num_positives=self._whole_step(self.criterion.count_positives(batch.targets, anchors)),
            num_images=len(batch.targets) * processes,
        )
        optimizer.zero_grad()
        # Gradients are averaged over the processes, and are to be summed.
        self.manual_backward(torch.stack(list(losses.values())).sum() * processes)
        terms = self._whole_step(torch.stack(list(losses.values())))
        self.losses = dict(zip(losses, terms, strict=True))
        whole = terms.sum()
        limit = math.inf if self.config.gradient_clip is None else self.config.gradient_clip
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        self.gradient_norm = float(norm)
        if math.isfinite(self.gradient_norm) and bool(torch.isfinite(whole)):
            optimizer.step()
            self._skips_in_a_row = 0
        else:
            self._skip(gathered(batch.image_ids))
        self.batches_done += 1
        self.seconds = of_first(self._seconds_before + time.monotonic() - self._started)

    def _whole_step(self, counts: Tensor) -> Tensor:
        """The sum over all processes."""
        return total(counts)

    def _skip(self, image_ids: tuple[int, ...]) -> None:
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
            random_state=torch.get_rng_state(),
        )

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the count and the clock where they were."""
        state = checkpoint["yolact"]
        self.batches_done = state["batches_done"]
        self._seconds_before = self.seconds = state["seconds"]
        self.skipped = [(step, tuple(ids)) for step, ids in state["skipped"]]
        torch.set_rng_state(state["random_state"])


def frozen_modules(model: nn.Module, parts: Sequence[str], *, batch_norm: bool) -> list[nn.Module]:
    """The named parts of ``model``, and with ``batch_norm`` every batch norm (spec 5.6).

    They stay as they are if they get no gradients and are in evaluation mode, which keeps running
    statistics.
    """
    modules = [model.get_submodule(part) for part in parts]
    if batch_norm:
        modules += [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    return modules
