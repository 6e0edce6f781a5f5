"""Shared fixtures. Nothing here needs a network; golden values and real data may be absent."""

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when the hub's client is imported

import torch

from yolact.cli.main import main
from yolact.data.generate import generate_dataset

SHARED = Path(__file__).resolve().parents[2] / "shared"


def _shared(part: str) -> Path:
    folder = SHARED / part
    if not folder.is_dir():
        pytest.skip(f"needs {folder}, which is not here")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _no_pauses() -> Iterator[None]:
    """Between models that are timed; what tests ask of them is no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("yolact.inference.timing.measure._PAUSE", 0)
        yield


@pytest.fixture(scope="session")
def golden() -> Path:
    """The original's outputs for fixed weights and inputs."""
    return _shared("golden")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real data sets in COCO format."""
    return _shared("data")


@pytest.fixture(scope="session")
def formula(golden: Path) -> SimpleNamespace:
    """Weights by formula: ``checkpoint(name)`` -> {original key: tensor}."""
    module = runpy.run_path(str(golden / "make_checkpoint.py"))
    layouts = json.loads((golden / "layouts.json").read_text())

    def checkpoint(name: str) -> dict[str, torch.Tensor]:
        values = module["checkpoint"](name)
        return {key: torch.from_numpy(value.copy()) for key, value in values.items()}

    return SimpleNamespace(checkpoint=checkpoint, layouts=layouts)


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated data set of small pictures: ten classes, holes, crowds, empty pictures."""
    folder = tmp_path_factory.mktemp("tiny") / "data"
    generate_dataset(folder, num_train=24, num_val=12, image_size=(96, 128), seed=3)
    return folder


@pytest.fixture(scope="session")
def tiny_settings() -> dict[str, Any]:
    """For trainings of seconds."""
    return {"size": 96, "batch_size": 4, "workers": 0, "validations": 1, "snapshots": 0}


@pytest.fixture(scope="session")
def tiny_run(
    tiny_data: Path, tiny_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The run directory of a short training on ``tiny_data``."""
    from yolact.training.run import train

    folder = tmp_path_factory.mktemp("runs") / "tiny"
    train(tiny_data, out=folder, steps=6, **tiny_settings | {"snapshots": 4})
    return folder


@pytest.fixture
def quick_command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """As ``command``, but in this process: for the many ways to be refused."""

    def run(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(cwd)
        capfd.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as wanted:  # as argparse ends
            code = int(wanted.code or 0)
        return subprocess.CompletedProcess(words, code, *capfd.readouterr())

    return run


@pytest.fixture(scope="session")
def command():
    """Run ``yolact`` as users do, in a process of its own."""

    def run(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "yolact", *map(str, words)],
            cwd=cwd,
            env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )

    return run
