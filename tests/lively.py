"""Small networks with random weights that find something: a few classes, with scores that differ."""

from dataclasses import replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from yolact.artifacts.metadata import ArtifactMetadata
from yolact.config.detection import DetectionConfig
from yolact.config.presets import preset
from yolact.inference.predictor import Predictor
from yolact.model.build import build_yolact
from yolact.model.deform_conv import DeformableConv
from yolact.runtimes.torch_runtime import TorchRuntime

CLASSES = ("nut", "bolt", "washer")
SMALL_PLUS = {
    "backbone": "resnet26",
    "backbone_widths": (16, 16, 32, 32),
    "fpn_channels": 16,
    "protonet_channels": 16,
    "head_channels": 16,
}
"""Changes to yolact-plus-resnet50."""


def lively(
    name: str = "yolact-nano",
    *,
    size: tuple[int, int] = (64, 96),
    detection: DetectionConfig | None = None,
    **changes: object,
) -> Predictor:
    """A predictor of such a network, the same each time.

    Args:
        name: A preset.
        size: (height, width) of its input.
        detection: In place of the preset's.
        changes: To its ModelConfig.
    """
    recipe = preset(name, CLASSES).resized(size)
    config = replace(recipe.model, **changes)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        network = build_yolact(config).eval()
        for module in network.modules():
            if isinstance(module, DeformableConv):
                torch.nn.init.normal_(module.conv_offset_mask.weight, std=0.2)
    head = network.head
    head.classes.weight.data *= 8
    head.classes.bias.data.view(-1, len(CLASSES) + 1)[:, 0] += 3  # for the background
    head.boxes.weight.data *= 3
    head.coefficients.weight.data *= 30
    network.protonet.project.weight.data *= 30
    metadata = ArtifactMetadata(config, detection or DetectionConfig(max_detections=15))
    return Predictor(TorchRuntime(network, torch.device("cpu")), metadata)


def blurry(seed: int, size: tuple[int, int] = (70, 110)) -> NDArray[np.uint8]:
    """A picture (height, width, 3) of soft colours."""
    patches = np.random.default_rng(seed).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    return cv2.resize(patches, size[::-1], interpolation=cv2.INTER_CUBIC)
