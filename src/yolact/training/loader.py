"""Batches in an order that depends on seed and epoch alone, so that a resumed run goes on in it."""

import signal
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from yolact.config.training import TrainingConfig
from yolact.data.dataset import Sample, SampleIndex, TrainingSamples, collate


class ShuffledBatches(Sampler[list[SampleIndex]]):
    """Endless batches of indices: every epoch all images once, in a new order.

    A last batch that would be smaller than the others is left out, unless there is no other.
    """

    def __init__(self, num_images: int, batch_size: int, seed: int) -> None:
        """Start with the first batch of epoch 0; ``start`` may be moved before iterating."""
        self.num_images = num_images
        self.batch_size = batch_size
        self.seed = seed
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
                yield [SampleIndex(epoch, int(position), closing) for position in chosen]
            epoch, first = epoch + 1, 0


def training_loader(
    samples: TrainingSamples, batches: ShuffledBatches, config: TrainingConfig
) -> DataLoader[Sample]:
    """Batches prepared by ``config.workers`` processes."""
    return DataLoader(
        samples,
        batch_sampler=batches,
        num_workers=config.workers,
        collate_fn=collate,
        worker_init_fn=_prepare_worker,
        persistent_workers=config.workers > 0,
    )


def _prepare_worker(worker: int) -> None:
    # Ctrl+C reaches workers too; the run ends with the current step, which they have to finish.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Workers share the cores with the network; threads of their own would only wait for it.
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
