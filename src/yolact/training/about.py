"""What a run is made of beside its settings: versions, device, data. Kept in ``about.json``."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from yolact import __version__
from yolact.data.coco import CocoInstances
from yolact.data.fingerprint import fingerprint
from yolact.training.prepare import Prepared
from yolact.training.processes import Processes

_PACKAGES = ("torch", "torchvision", "lightning", "timm", "numpy", "opencv-python-headless")


def describe(prepared: Prepared, processes: Processes, device: torch.device) -> dict[str, Any]:
    """The facts about a run before its first step, of JSON types.

    Args:
        prepared: The run.
        processes: All that train it.
        device: The first one's.
    """
    origin = {k: value for k, value in prepared.metadata.provenance.items() if k != "training"}
    model = prepared.recipe.model
    versions = {"yolact": __version__, "python": platform.python_version()}
    return {
        "name": str(origin["model"]),
        "versions": versions | {package: _version(package) for package in _PACKAGES},
        "device": _device_text(processes, device),
        "platform": platform.platform(),
        "parameters": sum(each.numel() for each in prepared.network.parameters()),
        "image_size": list(model.image_size),
        "class_names": list(model.class_names),
        "data": {"train": _split(prepared.train_data), "val": _split(prepared.val_data)},
        "provenance": origin,
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # built by other means, or under another name
        return "unknown"


def _split(instances: CocoInstances) -> dict[str, Any]:
    objects = [each for record in instances.records for each in record.annotations]
    return {
        "source": str(instances.source),
        "images": len(instances.records),
        "objects": sum(not each.is_crowd for each in objects),
        "fingerprint": fingerprint(instances),
    }


def _device_text(processes: Processes, device: torch.device) -> str:
    text = str(device)
    if device.type == "cuda":
        text = f"{torch.cuda.get_device_name(device)} ({text})"
    return text if processes.count == 1 else f"{processes.count} x {text}"
