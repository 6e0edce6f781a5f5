"""Torchvision's Mask R-CNN, to compare with: what it finds as our Results, its stages by a clock."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import BatchNorm2d
from torchvision.models.detection import maskrcnn_resnet50_fpn

from yolact.artifacts.artifact import load_weights
from yolact.artifacts.original_weights import read_original_state
from yolact.config.presets import COCO_CATEGORY_IDS, COCO_CLASSES
from yolact.errors import UsageError
from yolact.files import sha256_of
from yolact.inference.timing.clock import Clock
from yolact.inference.timing.measure import Limit
from yolact.inference.timing.timeline import DETECT, MASKS, Part
from yolact.ops.masks import CroppedMask
from yolact.results import Masks, Result

NAME = "maskrcnn-resnet50"
SHORT_SIDE = 800
"""Pixels to which its shorter side is brought as published, unless the longer would exceed 1333."""

_LONG_OVER_SHORT = 1333 / 800
_COLUMNS = 91
"""COCO's ids reach up to 90, and 0 is the background; ten ids are never used."""
# Torchvision names its files by the first digits of their SHA-256. These weights were trained with
# a batch norm that adds nothing to the variance, and torchvision takes care of that itself.
_PUBLISHED_WITHOUT_EPS = "bf2d0c1e"
_SMALLEST = 32


class MaskRcnn:
    """Mask R-CNN (arXiv 1703.06870) with ResNet-50 and FPN, as torchvision builds it.

    It has torchvision's own settings: candidates above 0.05, at most 100 objects. For every box it
    pools features once to classify it and once more to cut out its mask.
    """

    batch_size = 1
    parts = (
        Part("preprocess"),
        Part("backbone", ("preprocess",)),
        Part("fpn", ("backbone",)),
        Part("rpn", ("fpn",)),
        Part("pool boxes", ("rpn",), per_object=True),
        Part("box head", ("pool boxes",), per_object=True),
        Part(DETECT, ("box head",)),
        Part("pool masks", (DETECT,), per_object=True),
        Part("mask head", ("pool masks",), per_object=True),
        Part(MASKS, ("mask head",)),
    )

    def __init__(
        self, *, device: torch.device, weights: Path | None = None, short_side: int = SHORT_SIDE
    ) -> None:
        """Build it; nothing is downloaded. It gets the memory layout in which it is fastest.

        Args:
            device: Where it runs.
            weights: Torchvision's state dict, trained on COCO; None: random weights.
            short_side: Pixels of the shorter side of its input.

        Raises:
            CheckpointError: If ``weights`` cannot be read or do not fit.
            UsageError: If ``short_side`` is too small.
        """
        if short_side < _SMALLEST:
            raise UsageError(f"a shorter side of {short_side} is too small: {_SMALLEST} at least.")
        self.name = NAME if short_side == SHORT_SIDE else f"{NAME} at {short_side}"
        self.device = device
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            network = maskrcnn_resnet50_fpn(
                weights=None,
                weights_backbone=None,
                num_classes=_COLUMNS,
                min_size=short_side,
                max_size=int(short_side * _LONG_OVER_SHORT),
            )
        if weights is not None:
            _load(network, weights)
        self._network: Any = network.to(device, memory_format=torch.channels_last).eval()
        heads = self._network.roi_heads
        self._settings = Limit(heads.score_thresh, heads.detections_per_img)

    def run(
        self, picture: NDArray[np.uint8], clock: Clock, limit: Limit | None
    ) -> NDArray[np.float32]:
        """See :class:`yolact.inference.timing.measure.Timed`."""
        found, _ = self._find(picture, clock, limit or self._settings)
        scores: NDArray[np.float32] = found["scores"].cpu().numpy()
        return scores

    def detect(self, pictures: Sequence[NDArray[np.uint8]]) -> list[Result]:
        """All detections of RGB uint8 pictures (H, W, 3), among COCO's 80 classes."""
        return [self._result(picture) for picture in pictures]

    def _result(self, picture: NDArray[np.uint8]) -> Result:
        found, masks = self._find(picture, Clock(self.device), self._settings)
        label_of = np.full(_COLUMNS, -1, dtype=np.int64)
        label_of[list(COCO_CATEGORY_IDS)] = np.arange(len(COCO_CLASSES))
        scores = found["scores"].cpu().numpy()
        size = (picture.shape[0], picture.shape[1])
        result = Result(
            boxes=found["boxes"].cpu().numpy(),
            scores=scores,
            mask_scores=scores,
            labels=label_of[found["labels"].cpu().numpy()],
            names=COCO_CLASSES,
            masks=Masks.from_crops([CroppedMask(0, 0, mask) for mask in masks], size),
            image_size=size,
            image=picture,
        )
        return result[result.labels >= 0]

    def _find(
        self, picture: NDArray[np.uint8], clock: Clock, limit: Limit
    ) -> tuple[dict[str, Tensor], NDArray[np.bool_]]:
        """Torchvision's answer for a picture, and the masks (N, H, W) that it makes of it."""
        network, heads = self._network, self._network.roi_heads
        heads.score_thresh, heads.detections_per_img = limit.score, limit.count
        ends = {
            "preprocess": network.transform,
            "backbone": network.backbone.body,
            "fpn": network.backbone.fpn,
            "rpn": network.rpn,
            "pool boxes": heads.box_roi_pool,
            "box head": heads.box_predictor,
            "pool masks": heads.mask_roi_pool,
            "mask head": heads,
        }
        with (
            torch.inference_mode(),
            clock.watching(ends, {DETECT: heads.mask_roi_pool}, entry=network.backbone),
        ):
            image = torch.from_numpy(picture).to(self.device).permute(2, 0, 1).float() / 255
            (found,) = network([image])
            masks: NDArray[np.bool_] = (found["masks"][:, 0] > 0.5).cpu().numpy()
            clock.mark(MASKS)
        return found, masks


def _load(network: Any, path: Path) -> None:
    state = read_original_state(path)
    # Frozen batch norm, as torchvision saves it, does not count batches.
    counters = {k: v for k, v in network.state_dict().items() if k.endswith("num_batches_tracked")}
    load_weights(network, {**counters, **state}, str(path))
    if sha256_of(path).startswith(_PUBLISHED_WITHOUT_EPS):
        for module in network.modules():
            if isinstance(module, BatchNorm2d):
                module.eps = 0.0
