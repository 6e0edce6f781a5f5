"""How much memory a model needs while it predicts, measured in a process of its own."""

import gc
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from yolact.errors import UsageError
from yolact.inference.sources import Source, load_picture
from yolact.inference.timing.choice import Choice
from yolact.inference.timing.clock import Clock
from yolact.inference.timing.measure import limits_for
from yolact.inference.timing.timed_predictor import TimedPredictor

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RUNS = 3


@dataclass(frozen=True)
class Memory:
    """Of one model, in bytes."""

    process: int
    """Largest resident memory of the whole process while it predicts: Python and libraries, too."""
    model: int
    """What of it is there for the model: it was not there before the model was loaded. Weights, what
    the runtime has made of them, its own code, and what a run needs in between."""
    gpu: int | None
    """Largest memory that torch has had on the GPU; None without a GPU, or if another runtime uses it."""

    def to_dict(self) -> dict[str, Any]:
        """The same, under the same names, ready for JSON."""
        return asdict(self)


def check_system() -> None:
    """Make sure that memory can be measured here.

    Raises:
        UsageError: If this system does not say how much a process has: only Linux does so in a way
            that can be reset.
    """
    if not _STATUS.is_file():
        raise UsageError(f"memory is measured on Linux only, not on {sys.platform}.")


def measure_memory(choice: Choice, source: Source, *, objects: int | None = None) -> Memory:
    """Load a model in a new process, predict there, and ask how large it has become.

    A peak of the process that times several models would be that of all of them.

    Args:
        choice: The model.
        source: A picture.
        objects: As for :func:`yolact.inference.timing.measure.measure_together`.

    Raises:
        UsageError: As :func:`check_system`.
        YolactError: As of loading the model and reading the picture.
    """
    check_system()
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measure, choice, source, objects, torch.get_num_threads()).result()


def _measure(choice: Choice, source: Source, objects: int | None, num_threads: int) -> Memory:
    torch.set_num_threads(num_threads)
    picture = load_picture(source)
    before = _kib("VmRSS")
    model = choice.load()
    timed = TimedPredictor(model, choice.model, batch_size=choice.batch_size)
    limit = None if objects is None else limits_for(timed, picture, [objects])[0]
    gc.collect()
    _CLEAR.write_text("5", encoding="ascii")  # the peak so far, of loading, is forgotten
    torch_runs_on_gpu = model.device.type == "cuda" and model.runtime.name in ("reference", "torch")
    if torch_runs_on_gpu:
        torch.cuda.reset_peak_memory_stats(model.device)
    for _ in range(_RUNS):
        timed.run(picture, Clock(model.device), limit)
    peak = _kib("VmHWM")
    gpu = torch.cuda.max_memory_allocated(model.device) if torch_runs_on_gpu else None
    return Memory(process=peak * 1024, model=max(0, peak - before) * 1024, gpu=gpu)


def _kib(name: str) -> int:
    """A line of what the kernel says of this process."""
    lines = _STATUS.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
