"""``batch_size="auto"``: the largest batch that fits into the memory of a GPU, found by trying."""

import copy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from yolact.artifacts.metadata import ArtifactMetadata
from yolact.config.presets import Recipe
from yolact.data.coco import CocoInstances
from yolact.data.dataset import Sample, SampleIndex, collate
from yolact.errors import UsageError
from yolact.model.yolact import Yolact
from yolact.training.loader import training_samples
from yolact.training.module import YolactModule
from yolact.training.precision import Precision
from yolact.training.processes import Processes, least_of
from yolact.training.schedule import Schedule

_SHARE_OF_MEMORY = 0.9  # the rest is for what other batches need more, and for fragments
_CROWDED_PICTURES = 16


def largest_that_fits(fits: Callable[[int], bool], limit: int) -> int:
    """The largest number from 1 to ``limit`` that fits; 0 if none does.

    Doubles until something does not fit, then halves the gap. What is larger than a number that
    does not fit is never tried.

    Args:
        fits: Whether a number does; true up to some number and false above.
        limit: Nothing larger is tried.
    """
    good, bad = 0, limit + 1
    while bad - good > 1:
        number = (good + bad) // 2
        if bad == limit + 1:  # nothing has failed yet
            number = min(max(2 * good, 1), limit)
        if fits(number):
            good = number
        else:
            bad = number
    return good


def largest_batch_size(
    network: Yolact,
    recipe: Recipe,
    data: CocoInstances,
    processes: Processes,
    device: torch.device,
) -> int:
    """The images per optimizer step for which every process has enough memory; said on stderr.

    Real steps are tried with the picture that has the most objects, as augmentation shows it, in
    every place of the batch. The weights stay as they are. A data set is the largest batch it has.

    Raises:
        UsageError: If not even one image fits.
    """
    trial = _Trial(network, recipe, data, device)
    unit = processes.count * recipe.training.accumulate
    with _margin(device):
        images = largest_that_fits(trial.fits, max(len(data.records) // unit, 1))
    images = least_of(images) * unit
    if not images:
        raise UsageError(
            f"not even one image fits into the memory of {device}: choose a smaller size."
        )
    sys.stderr.write(f"batch size {images}: the largest that fits\n")
    return images


class _Trial:
    """Steps on a copy of the network."""

    def __init__(
        self, network: Yolact, recipe: Recipe, data: CocoInstances, device: torch.device
    ) -> None:
        config = recipe.training
        metadata = ArtifactMetadata(recipe.model, recipe.detection, data.category_ids, {})
        schedule = Schedule(config, total_steps=1, max_seconds=None)
        self._module = YolactModule(copy.deepcopy(network), metadata, config, schedule).to(device)
        self._module.eval()  # batch norm refuses single images
        self._optimizer = self._module.configure_optimizers()
        self._sample = _fullest(recipe, data)
        self._device = device
        self._precision = Precision(config.precision, device.type)

    def fits(self, images: int) -> bool:
        """Whether a step with so many images at once has enough memory."""
        try:
            self._step(images)
        except torch.OutOfMemoryError:
            return False
        finally:
            self._optimizer.zero_grad()
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
        return True

    def _step(self, images: int) -> None:
        module = self._module
        batch = module.transfer_batch_to_device(collate([self._sample] * images), self._device, 0)
        with self._precision.forward():
            pictures = batch.images.contiguous(memory_format=torch.channels_last)
            predictions = module.model(pictures, with_semantics=True)
        losses = module.criterion(
            predictions, batch.targets, module.model.anchors, module.model.mask_scorer
        )
        torch.autograd.backward(torch.stack(list(losses.values())).sum())
        self._optimizer.step()


def _fullest(recipe: Recipe, data: CocoInstances) -> Sample:
    """The sample with the most objects among the pictures with the most objects."""
    samples = training_samples(recipe, data)
    crowded = sorted(
        range(len(samples)), key=lambda i: len(data.records[i].annotations), reverse=True
    )
    candidates = [samples[SampleIndex(0, position)] for position in crowded[:_CROWDED_PICTURES]]
    return max(candidates, key=lambda sample: len(sample.target.labels))


@contextmanager
def _margin(device: torch.device) -> Iterator[None]:
    """Here a GPU has less memory than it has."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.set_per_process_memory_fraction(_SHARE_OF_MEMORY, device)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
