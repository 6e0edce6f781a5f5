"""Lightning's Trainer as this package uses it: for the loop and for several processes, no more."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import lightning
import torch
from lightning.pytorch.strategies import DDPStrategy

from yolact.training.processes import Processes


def lightning_trainer(
    processes: Processes, device: torch.device, callbacks: Sequence[lightning.Callback]
) -> lightning.Trainer:
    """A trainer on this process's ``device`` that runs until a callback stops it."""
    alone = processes.environment is None
    return lightning.Trainer(
        accelerator=device.type,
        devices=[device.index] if alone and device.index is not None else processes.devices,
        num_nodes=processes.nodes,
        # Buffers are the statistics of batch norm. Those of the first process are kept; the others
        # take them over when they are needed, to measure.
        strategy="auto" if alone else DDPStrategy(broadcast_buffers=False),
        plugins=None if processes.environment is None else [processes.environment],
        use_distributed_sampler=False,
        max_epochs=-1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
    )


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Lightning's hints about loaders and hardware are not for our users."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
