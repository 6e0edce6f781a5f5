"""YOLACT: real-time instance segmentation you can train, measure, understand and ship."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "CheckpointError",
    "DataError",
    "ImageError",
    "Metrics",
    "Predictor",
    "Result",
    "Run",
    "UsageError",
    "YolactError",
    "__version__",
    "evaluate",
    "load",
    "train",
]

if TYPE_CHECKING:
    from yolact.errors import CheckpointError, DataError, ImageError, UsageError, YolactError
    from yolact.evaluation.coco import Metrics
    from yolact.inference.evaluate import evaluate
    from yolact.inference.load import load
    from yolact.inference.predictor import Predictor
    from yolact.results import Result
    from yolact.training.run import Run, train

_HOMES = {
    "CheckpointError": "yolact.errors",
    "DataError": "yolact.errors",
    "ImageError": "yolact.errors",
    "Metrics": "yolact.evaluation.coco",
    "Predictor": "yolact.inference.predictor",
    "Result": "yolact.results",
    "Run": "yolact.training.run",
    "UsageError": "yolact.errors",
    "YolactError": "yolact.errors",
    "evaluate": "yolact.inference.evaluate",
    "load": "yolact.inference.load",
    "train": "yolact.training.run",
}


def __getattr__(name: str) -> Any:
    # Imported when first used, so that "import yolact" and the command's help stay light.
    if name not in _HOMES:
        raise AttributeError(f"module 'yolact' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
