import sys

import numpy as np
import pytest

from yolact.errors import UsageError
from yolact.inference.timing import memory
from yolact.inference.timing.choice import Choice
from yolact.inference.timing.memory import measure_memory

PICTURE = np.zeros((96, 128, 3), dtype=np.uint8)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells it")
def test_a_model_in_a_process_of_its_own(tiny_run):
    held = bytearray(400 * 2**20)  # of this process: it must not count
    held[:: 2**12] = b"x" * len(held[:: 2**12])
    found = measure_memory(Choice(str(tiny_run), device="cpu"), PICTURE, objects=3)
    weights = (tiny_run / "best.safetensors").stat().st_size
    assert weights / 2 < found.model < 300 * 2**20
    assert found.model < found.process
    assert found.gpu is None


def test_other_systems_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "none")
    with pytest.raises(UsageError, match="memory is measured on Linux only"):
        measure_memory(Choice("nobody", device="cpu"), PICTURE)
