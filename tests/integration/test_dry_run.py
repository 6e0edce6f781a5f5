"""``--dry-run``: everything once, and nothing is left."""

import json
import math
import tempfile

import pytest

from yolact.errors import UsageError
from yolact.inference.predictor import Predictor
from yolact.training.dry_run import dry_run
from yolact.training.request import Request


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder for temporary files, so that what is left behind is seen."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def request(data, out, *, size=None, **settings):
    return Request(data=data, out=out, size=size, settings=settings)


def test_it_says_what_a_run_would_need_and_leaves_nothing(
    tiny_data, tiny_settings, tmp_path, temporary, capfd
):
    settings = tiny_settings | {"steps": 100, "validations": 7}
    forecast = dry_run(request(tiny_data, tmp_path / "run", **settings), device="cpu")
    assert (forecast.batch_size, forecast.steps, forecast.validations) == (4, 200, 7)
    assert forecast.images_per_second == pytest.approx(4 / forecast.seconds_per_step)
    assert forecast.total_seconds == pytest.approx(
        200 * forecast.seconds_per_step + 7 * forecast.validation_seconds
    )
    assert forecast.gpu_memory_mib is None
    assert forecast.memory_mib > 100
    assert 20 < forecast.disk_mib < 60  # weights in two files, and the optimizer's state
    assert "step 5 " in capfd.readouterr().err
    assert list(temporary.iterdir()) == []
    assert not (tmp_path / "run").exists()


def test_the_model_is_exported_too(tiny_data, tiny_settings, tmp_path, monkeypatch):
    parities, export = [], Predictor.export

    def spy(*arguments, **settings):
        parities.append(export(*arguments, **settings))

    monkeypatch.setattr(Predictor, "export", spy)
    settings = tiny_settings | {"steps": 5}
    dry_run(request(tiny_data, tmp_path / "run", **settings), device="cpu")
    (parity,) = parities
    assert parity.path.suffix == ".onnx"
    assert parity.raw_difference < 1e-3


def test_a_limited_run_takes_its_time(tiny_data, tiny_settings, tmp_path, temporary, monkeypatch):
    monkeypatch.setattr(Predictor, "export", lambda *_, **__: None)
    settings = tiny_settings | {"max_time": "01:00:00"}
    forecast = dry_run(request(tiny_data, tmp_path / "run", **settings), device="cpu")
    assert 3590 < forecast.total_seconds <= 3600
    assert forecast.steps == math.floor(
        (3600 - forecast.validation_seconds) / forecast.seconds_per_step
    )


def test_the_command(tiny_data, tmp_path, command):
    done = command(
        "train", tiny_data, "--out", tmp_path / "run", "--size", 64, "--batch-size", 4,
        "--epochs", 3, "--workers", 0, "--dry-run", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 18
    assert not (tmp_path / "run").exists()


def test_it_refuses_what_a_run_refuses(tiny_data, tiny_run):
    before = {path.name: path.stat().st_mtime_ns for path in tiny_run.iterdir()}
    with pytest.raises(UsageError, match="already holds a run"):
        dry_run(request(tiny_data, tiny_run, steps=2))
    assert {path.name: path.stat().st_mtime_ns for path in tiny_run.iterdir()} == before
