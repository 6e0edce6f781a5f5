"""Takes snapshots of a model while it learns: the callback behind ``yolact report``."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
from torch import Tensor, nn

from yolact.artifacts.run_directory import PICTURES, snapshot_files
from yolact.data.coco import Annotation, CocoInstances, ImageRecord, size_of
from yolact.data.dataset import TrainingSamples
from yolact.data.images import read_image
from yolact.evaluation.coco import Metrics
from yolact.inference.explanation import explain_detections
from yolact.inference.predictor import Predictor
from yolact.losses.matching import Matching
from yolact.losses.terms import mine_hard_negatives
from yolact.processing.preprocess import Preprocessor
from yolact.reporting.snapshots import (
    Snapshot,
    WatchedPicture,
    write_pictures,
    write_snapshot,
)
from yolact.runtimes.torch_runtime import TorchRuntime
from yolact.structures import Batch
from yolact.training.callbacks import Validation
from yolact.training.module import YolactModule

_FIRST = 10  # steps; then twice as many, and so on
_DETECTIONS = 6  # a picture


class Recorder(lightning.Callback):
    """Looks at the same few pictures at chosen steps, and writes what the model makes of them.

    The steps are 0, 10, 20, 40 and so on, and those of validations. A step decides alone whether it
    has a snapshot, so a resumed run has the same. Looking changes nothing: a training with snapshots
    gives the same weights as one without, bit by bit.
    """

    def __init__(
        self, folder: Path, validation: Validation, data: CocoInstances, *, count: int
    ) -> None:
        """Choose the pictures.

        Args:
            folder: The run's ``snapshots/``.
            validation: Comes before it among the callbacks.
            data: The validation split.
            count: How many of its pictures are watched; 0 for none.
        """
        self.listeners: list[Callable[[Snapshot], None]] = []
        """Called with every snapshot."""
        self._folder = folder
        self._validation = validation
        self._data = data
        self._positions = choose_pictures(data.records, count)
        self._measured: Metrics | None = None

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Remove what lies ahead of the run, and take the first snapshot unless it is there."""
        assert isinstance(module, YolactModule)
        self._forget(module.batches_done)
        if self._positions:
            self._gather(module)
            if is_due(module.batches_done) and module.batches_done not in self._recorded():
                self._take(module)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Take a snapshot if one is due; the run's end is ``on_train_end``'s."""
        assert isinstance(module, YolactModule)
        if module.progress < 1 and (is_due(module.batches_done) or self._is_measured):
            self._take(module)

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Take the last one, unless the run was stopped before its end."""
        assert isinstance(module, YolactModule)
        if self._is_measured:
            self._take(module)

    @property
    def _is_measured(self) -> bool:
        """Whether a validation has ended since the last snapshot."""
        return self._validation.latest is not self._measured

    def _recorded(self) -> dict[int, Path]:
        return snapshot_files(self._folder)

    def _forget(self, step: int) -> None:
        """Remove snapshots that a run resumed after ``step`` will take again, or that do not fit."""
        fits = step > 0 and self._same_pictures()
        if not fits:
            (self._folder / PICTURES).unlink(missing_ok=True)
        for taken, path in self._recorded().items():
            if taken > step or not fits:
                path.unlink()

    def _same_pictures(self) -> bool:
        """Whether the snapshots in the folder show the pictures that are watched now, if any are."""
        if not self._positions:
            return True
        try:
            entries = json.loads((self._folder / PICTURES).read_text(encoding="utf-8"))
            before = [(entry["image_id"], entry["name"]) for entry in entries]
        except (OSError, ValueError, TypeError, KeyError):  # none, or none that can be used
            return False
        records = [self._data.records[position] for position in self._positions]
        return before == [(record.image_id, record.path.name) for record in records]

    def _gather(self, module: YolactModule) -> None:
        """Read the pictures and their truth, once."""
        records = [self._data.records[position] for position in self._positions]
        preprocessor = Preprocessor(module.metadata.model)
        self._read = [read_image(record.path) for record in records]
        # The truth of a training sample that nothing was done to lies where prediction sees it.
        samples = TrainingSamples(
            self._data,
            preprocessor,
            preprocessor.image_size,
            augmentation="none",
            seed=0,
        )
        targets = tuple(samples[0, position].target for position in self._positions)
        ids = tuple(record.image_id for record in records)
        batch = Batch(preprocessor(self._read), targets, ids)
        batch = module.transfer_batch_to_device(batch, module.device, 0)
        self._images = batch.images
        self._matching = module.criterion.match(batch.targets, module.model.anchors)
        self._pictures = tuple(
            WatchedPicture(
                record.path.name,
                record.path,
                record.image_id,
                boxes=target.boxes[~target.is_crowd],
                labels=target.labels[~target.is_crowd],
                masks=target.masks[~target.is_crowd].bool(),
            )
            for record, target in zip(records, targets, strict=True)
        )

    def _take(self, module: YolactModule) -> None:
        if not self._positions:
            return
        metrics = self._validation.latest if self._is_measured else None
        self._measured = self._validation.latest
        with _modes_kept(module):
            runtime = TorchRuntime(module.kept, module.device)  # puts it into evaluation mode
            model = Predictor(runtime, module.metadata)
            detection = model.detection(score_threshold=0.0, max_detections=_DETECTIONS)
            predictions, found = model.forward_images(self._images, detection)
            explanations = tuple(
                explain_detections(model, picture, image, detections)
                for picture, image, detections in zip(self._read, self._images, found, strict=True)
            )
            shares = negatives_by_class(
                predictions.class_logits,
                self._matching,
                module.criterion.config.negatives_per_positive,
            )
        snapshot = Snapshot(
            step=module.batches_done,
            seconds=module.seconds,
            pictures=self._pictures,
            explanations=explanations,
            negatives=dict(zip(model.names, shares, strict=True)),
            metrics=metrics,
        )
        if not (self._folder / PICTURES).is_file():
            write_pictures(self._folder, snapshot)
        write_snapshot(self._folder, snapshot)
        for listener in self.listeners:
            listener(snapshot)


def is_due(step: int) -> bool:
    """Whether a step, as 0, 10, 20, 40 and 80, has a snapshot even without a validation."""
    times, rest = divmod(step, _FIRST)
    return rest == 0 and times & (times - 1) == 0


def choose_pictures(records: Sequence[ImageRecord], count: int) -> list[int]:
    """Places of pictures that show as many classes and sizes of objects as possible.

    One after the other that adds most; among equals one with few objects, then the first. The
    choice of fewer pictures is the beginning of a choice of more.

    Args:
        records: Of a split.
        count: How many, or fewer if not so many show an object.
    """
    shown = {
        position: [each for each in record.annotations if not each.is_crowd]
        for position, record in enumerate(records)
    }
    left = {position: _features(objects) for position, objects in shown.items() if objects}
    chosen: list[int] = []
    seen: set[object] = set()
    while left and len(chosen) < count:
        best = max(left, key=lambda i: (len(left[i] - seen), -len(shown[i]), -i))
        seen |= left.pop(best)
        chosen.append(best)
    return chosen


def _features(objects: Sequence[Annotation]) -> set[object]:
    sizes = set()
    for each in objects:
        x1, y1, x2, y2 = each.box
        sizes.add(size_of((x2 - x1) * (y2 - y1)))
    return {*sizes, *(each.label for each in objects)}


def negatives_by_class(
    class_logits: Tensor, matching: Matching, negatives_per_positive: int
) -> list[float]:
    """What the hardest background anchors look most like: the share of each class, summing to 1.

    Args:
        class_logits: (B, A, C + 1).
        matching: Of the same images.
        negatives_per_positive: As in training (OHEM, spec 5.4).

    Returns:
        C shares; zeros if no anchor is background.
    """
    chosen = mine_hard_negatives(
        class_logits, matching.is_positive, matching.is_ignored, negatives_per_positive
    )
    likest = class_logits[chosen][:, 1:].argmax(dim=1)
    counts = likest.bincount(minlength=class_logits.shape[-1] - 1).double()
    shares: list[float] = (counts / counts.sum().clamp(min=1)).tolist()
    return shares


@contextmanager
def _modes_kept(module: nn.Module) -> Iterator[None]:
    """Every part is in training or evaluation mode afterwards as before."""
    before = {part: part.training for part in module.modules()}
    yield
    for part, mode in before.items():
        part.training = mode
