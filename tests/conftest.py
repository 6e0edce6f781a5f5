"""Shared fixtures. Nothing here needs a network; golden values and real data may be absent."""

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

SHARED = Path(__file__).resolve().parents[2] / "shared"


def _shared(part: str) -> Path:
    folder = SHARED / part
    if not folder.is_dir():
        pytest.skip(f"needs {folder}, which is not here")
    return folder


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
        return {key: torch.from_numpy(value.copy()) for key, value in module["checkpoint"](name).items()}

    return SimpleNamespace(checkpoint=checkpoint, layouts=layouts)
