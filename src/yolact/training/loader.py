"""Batches in an order that depends on seed and epoch alone, so that a resumed run goes on in it."""

import os
import signal
import tempfile
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from yolact.config.presets import Recipe
from yolact.config.training import TrainingConfig
from yolact.data.cache import image_cache
from yolact.data.coco import CocoInstances
from yolact.data.dataset import Sample, SampleIndex, TrainingSamples, collate
from yolact.errors import UsageError, YolactError
from yolact.model.build import prototype_size
from yolact.processing.preprocess import Preprocessor
from yolact.structures import Batch

# Systems allow 103 bytes at least, of which /pymp-XXXXXXXX/listener-XXXXXXXX are 32.
_LONGEST_TEMPORARY = 71


class ShuffledBatches(Sampler[list[SampleIndex]]):
    """Endless batches of indices: every epoch all images once, in a new order.

    A last batch that would be smaller than the others is left out, unless there is no other. One of
    several processes gets its share of each batch; the shares by rank, one after the other, are the
    batch that a single process gets.
    """

    def __init__(
        self, num_images: int, batch_size: int, seed: int, *, rank: int = 0, world_size: int = 1
    ) -> None:
        """Start with the first batch of epoch 0; ``start`` may be moved before iterating."""
        self.num_images = num_images
        self.batch_size = min(batch_size, num_images)
        self.seed = seed
        self._share = slice(
            rank * self.batch_size // world_size, (rank + 1) * self.batch_size // world_size
        )
        self.start = 0
        """Batches to pass over, counted from the beginning of the run."""
        self.is_closing: Callable[[int], bool] = lambda number: False
        """Whether the batch with this number, from 0, is for the end of the run. Asked when workers
        are told to prepare the batch, which is some batches ahead."""

    @property
    def batches_per_epoch(self) -> int:
        """At least one."""
        return max(self.num_images // self.batch_size, 1)

    def __iter__(self) -> Iterator[list[SampleIndex]]:
        """Batches from number ``start`` on."""
        epoch, first = divmod(self.start, self.batches_per_epoch)
        while True:
            order = np.random.default_rng((self.seed, epoch)).permutation(self.num_images)
            for batch in range(first, self.batches_per_epoch):
                chosen = order[batch * self.batch_size : (batch + 1) * self.batch_size]
                closing = self.is_closing(epoch * self.batches_per_epoch + batch)
                yield [
                    SampleIndex(epoch, int(position), closing) for position in chosen[self._share]
                ]
            epoch, first = epoch + 1, 0


def training_samples(recipe: Recipe, data: CocoInstances) -> TrainingSamples:
    """The images of ``data`` as the recipe shows them to the network."""
    config = recipe.training
    return TrainingSamples(
        data,
        Preprocessor(recipe.model),
        prototype_size(recipe.model.image_size),
        augmentation=config.augmentation,
        seed=config.seed,
        copy_paste=config.copy_paste,
        mosaic=config.mosaic,
        cache=image_cache(data.records, config.cache_images),
    )


class TrainingLoader(DataLoader[Sample | YolactError]):
    """Raises what is wrong with a picture as it was raised: as one sentence, from workers too."""

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        """The batches in order."""
        for batch in super().__iter__():
            if isinstance(batch, YolactError):
                raise batch
            yield batch


def training_loader(
    samples: TrainingSamples, batches: ShuffledBatches, config: TrainingConfig
) -> TrainingLoader:
    """Batches prepared by ``config.workers`` processes.

    Raises:
        UsageError: If they could not hand over what they prepare: their sockets lie among the temporary
            files, and the path of a socket has a limit. Torch would wait for them for ever.
    """
    folder = tempfile.gettempdir()
    if config.workers and len(os.fsencode(folder)) > _LONGEST_TEMPORARY:
        raise UsageError(
            f"the path of the folder for temporary files, {folder}, is too long for the processes that "
            "prepare batches: set TMPDIR to a shorter one, or train with workers 0."
        )
    return TrainingLoader(
        _Told(samples),
        batch_sampler=batches,
        num_workers=config.workers,
        collate_fn=_collate_or_tell,
        worker_init_fn=_prepare_worker,
        persistent_workers=config.workers > 0,
    )


class _Told(Dataset[Sample | YolactError]):
    """Samples, or what is wrong with them: torch would add a traceback to the text of an error."""

    def __init__(self, samples: TrainingSamples) -> None:
        self._samples = samples

    def __getitem__(self, index: SampleIndex) -> Sample | YolactError:
        try:
            return self._samples[index]
        except YolactError as error:
            return error


def _collate_or_tell(samples: list[Sample | YolactError]) -> Batch | YolactError:
    good: list[Sample] = []
    for sample in samples:
        if isinstance(sample, YolactError):
            return sample
        good.append(sample)
    return collate(good)


def _prepare_worker(worker: int) -> None:
    # Ctrl+C reaches workers too; the run ends with the current step, which they have to finish.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Workers share the cores with the network; threads of their own would only wait for it.
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
