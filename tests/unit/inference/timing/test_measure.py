import time
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from yolact.errors import UsageError
from yolact.inference.timing.measure import measure_growth, measure_together
from yolact.inference.timing.timeline import Part

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (96, 128, 3), dtype=np.uint8)


class Paced:
    """Finds what it is told to, and takes a known time for it."""

    name, device, batch_size = "paced", CPU, 1
    parts = (
        Part("preprocess"),
        Part("detect", ("preprocess",)),
        Part("masks", ("detect",), per_object=True),
        Part("draw", ("masks",)),
    )

    def __init__(self, monkeypatch: pytest.MonkeyPatch, pace: Sequence[float] = ()) -> None:
        self.now, self.runs, self.pace = 0.0, 0, pace
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def run(self, picture, clock, limit):
        scores = np.linspace(0.9, 0.1, 9, dtype=np.float32)
        if limit is not None:
            scores = scores[scores > limit.score][: limit.count]
        slower = self.pace[self.runs] if self.runs < len(self.pace) else 1
        self.runs += 1
        for part, seconds in zip(self.parts, (3.0, 1.0, 0.5 * len(scores), 7.0), strict=True):
            self.now += seconds * slower * self.batch_size
            clock.mark(part.name)
        return scores


def test_time_is_shared_out_among_the_stages(monkeypatch, picture):
    (line,) = measure_together([Paced(monkeypatch)], [picture], repeats=3, objects=4)
    assert [(s.name, s.seconds, s.p95) for s in line.stages] == [
        ("preprocess", 3.0, 3.0),
        ("detect", 1.0, 1.0),
        ("masks", 2.0, 2.0),
        ("draw", 7.0, 7.0),
    ]
    # Drawing is nobody's mask.
    assert (line.seconds, line.p95, line.num_objects, line.num_repeats) == (6.0, 6.0, 4.0, 3)
    assert line.frames_per_second == pytest.approx(1 / 6)
    assert line.postprocessing == 0.5


def test_growth_is_a_slope_through_what_was_found(monkeypatch, picture):
    (growth,) = measure_growth([Paced(monkeypatch)], picture, [1, 5, 50], repeats=2)
    assert growth.objects == (1, 5, 9)  # it finds no more than nine
    assert growth.seconds == (4.5, 6.5, 8.5)
    assert growth.seconds_per_object == pytest.approx(0.5)
    (single,) = measure_growth([Paced(monkeypatch)], picture, [3], repeats=1)
    assert single.seconds_per_object is None


def test_the_time_of_a_batch_is_shared_out(monkeypatch, picture):
    model = Paced(monkeypatch)
    model.batch_size = 4
    (line,) = measure_together([model], [picture], repeats=1, objects=4)
    assert (line.seconds, line.batch_size) == (6.0, 4)
    (growth,) = measure_growth([model], picture, [4], repeats=1)
    assert growth.seconds == (6.0,)


@pytest.mark.parametrize(
    ("pace", "warm_ups"),
    [
        ([1], 3),  # the first, and two that are no quicker
        ([50, 3, 1, 1], 5),  # compiled at the first run, recorded at the second
        ([1, 5, 0.95], 3),  # something else disturbed it
        ([0.8**n for n in range(50)], 12),  # enough is enough
    ],
)
def test_a_model_runs_until_it_gets_no_quicker(pace, warm_ups, monkeypatch, picture):
    model = Paced(monkeypatch, pace)
    measure_together([model], [picture, picture], repeats=3)
    assert model.runs == warm_ups + 2 * 3


def test_models_take_turns_and_what_is_beside_them_runs_once_a_round(monkeypatch, picture):
    order: list[str] = []
    model = Paced(monkeypatch)
    other = SimpleNamespace(run=lambda: order.append("gemm"))
    measure_together(
        [model, model],
        [picture],
        repeats=2,
        beside=[other],
        on_progress=lambda: order.append("run"),
    )
    assert order == ["run", "run", "gemm"] * 2


def test_refusals(monkeypatch, picture):
    model = Paced(monkeypatch)
    with pytest.raises(UsageError, match="no picture"):
        measure_together([model], [], repeats=1)
    with pytest.raises(UsageError, match="repeats must be at least 1"):
        measure_together([model], [picture], repeats=0)
    with pytest.raises(UsageError, match="objects must be at least 1, not 0"):
        measure_growth([model], picture, [0, 3], repeats=1)
