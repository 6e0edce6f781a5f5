"""The plain path of the specification, step by step (sections 3 and 4): slow, and easy to check.

Everything is computed for every anchor and every pixel, as the original does. It is what the fast
path has to equal, in tests and in measurements, and shares none of its shortcuts.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import nms

from yolact.config.detection import DetectionConfig
from yolact.ops.box_coding import decode_boxes
from yolact.ops.boxes import WHOLE_INPUT, Region, box_iou
from yolact.ops.masks import assemble_masks, confine_masks, crop_masks
from yolact.processing.preprocess import Preprocessor
from yolact.structures import Detections, Predictions


class PlainPreprocessor(Preprocessor):
    """Resizes and normalises one picture after the other, in torch (spec 3)."""

    def __call__(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """As :class:`yolact.processing.preprocess.Preprocessor`."""
        return torch.stack(
            [self._prepare(torch.from_numpy(np.ascontiguousarray(image))) for image in images]
        )

    def _prepare(self, image: Tensor) -> Tensor:
        height, width, _ = image.shape
        place = self.placement((height, width))
        planes = image.permute(2, 0, 1)[None].float()
        planes = F.interpolate(planes, (place.height, place.width), mode="bilinear")[0]
        mean, std = torch.from_numpy(self.mean), torch.from_numpy(self.std)
        planes = (planes - mean[:, None, None]) / std[:, None, None]
        right = place.input_size[1] - place.left - place.width
        below = place.input_size[0] - place.top - place.height
        return F.pad(planes, (place.left, right, place.top, below))


def detect(
    predictions: Predictions,
    anchors: Tensor,
    config: DetectionConfig,
    mask_scorer: Callable[[Tensor], Tensor] | None = None,
) -> list[Detections]:
    """Detections of every image of a batch (spec 4.1).

    Arguments and answer are those of :func:`yolact.processing.postprocess.postprocess`.
    """
    found = []
    for offsets, logits, coefficients, prototypes in zip(
        predictions.box_offsets.float(),
        predictions.class_logits.float(),
        predictions.coefficients.float(),
        predictions.prototypes.float(),
        strict=True,
    ):
        boxes = decode_boxes(offsets, anchors)
        scores = logits.softmax(dim=1)[:, 1:]
        is_candidate = scores.max(dim=1).values > config.score_threshold
        boxes, scores, coefficients = (
            values[is_candidate] for values in (boxes, scores, coefficients)
        )
        kept, labels, kept_scores = _NMS[config.nms](boxes, scores.T, config)
        if config.labels is not None:
            wanted = torch.isin(labels, labels.new_tensor(config.labels))
            kept, labels, kept_scores = kept[wanted], labels[wanted], kept_scores[wanted]
        best, order = kept_scores.sort(descending=True, stable=True)
        order = order[: config.max_detections]
        detections = Detections(
            boxes=boxes[kept[order]],
            scores=best[: config.max_detections],
            labels=labels[order],
            coefficients=coefficients[kept[order]],
            prototypes=prototypes,
            crop=config.crop,
            crop_margin=config.crop_margin,
        )
        if mask_scorer is not None:
            soft = assemble_masks(prototypes, detections.coefficients)
            ious = mask_scorer(crop_masks(soft, detections.boxes))
            iou = ious[torch.arange(len(order), device=ious.device), detections.labels]
            detections = replace(detections, mask_scores=detections.scores * iou)
        found.append(detections)
    return found


def plain_fast_nms(
    boxes: Tensor, scores: Tensor, config: DetectionConfig
) -> tuple[Tensor, Tensor, Tensor]:
    """Candidate, label and score of each entry that survives, class by class, in no order.

    Args:
        boxes: (n, 4).
        scores: (C, n).
        config: Thresholds.
    """
    if not len(boxes):
        return _nothing(scores)
    sorted_scores, order = scores.sort(dim=1, descending=True, stable=True)
    sorted_scores = sorted_scores[:, : config.candidates_per_class]
    order = order[:, : config.candidates_per_class]
    iou = box_iou(boxes[order], boxes[order]).triu(diagonal=1)  # (C, top, top)
    keep = iou.max(dim=1).values <= config.iou_threshold
    labels = torch.arange(len(scores), device=scores.device)[:, None].expand_as(order)
    return order[keep], labels[keep], sorted_scores[keep]


def _cross_class_nms(
    boxes: Tensor, scores: Tensor, config: DetectionConfig
) -> tuple[Tensor, Tensor, Tensor]:
    best, labels = scores.max(dim=0)
    kept, _, kept_scores = plain_fast_nms(boxes, best[None], config)
    return kept, labels[kept], kept_scores


def _greedy_nms(
    boxes: Tensor, scores: Tensor, config: DetectionConfig
) -> tuple[Tensor, Tensor, Tensor]:
    found = [_nothing(scores)]
    for label, of_class in enumerate(scores):
        best, order = of_class.sort(descending=True, stable=True)
        best, order = best[: config.candidates_per_class], order[: config.candidates_per_class]
        survivors = nms(boxes[order], best, config.iou_threshold)
        found.append((order[survivors], torch.full_like(survivors, label), best[survivors]))
    kept, labels, kept_scores = (torch.cat(parts) for parts in zip(*found, strict=True))
    return kept, labels, kept_scores


_NMS = {"fast": plain_fast_nms, "cross-class": _cross_class_nms, "greedy": _greedy_nms}


def _nothing(scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    indices = torch.zeros(0, dtype=torch.int64, device=scores.device)
    return indices, indices, scores.new_zeros(0)


def make_masks(
    detections: Detections, image_size: tuple[int, int], region: Region = WHOLE_INPUT
) -> Tensor:
    """Full-size masks (N, H, W), bool: assembled, cropped, resized and cut at one half (spec 4.2).

    All of them are float32 at once: 830 MB for a hundred objects in full HD.

    Args:
        detections: N objects.
        image_size: (height, width) of the picture.
        region: Which part of the network's input shows the picture.
    """
    if not len(detections):
        return torch.zeros((0, *image_size), dtype=torch.bool, device=detections.boxes.device)
    soft = assemble_masks(detections.prototypes, detections.coefficients)
    soft, _ = confine_masks(soft, detections.boxes, detections.crop, detections.crop_margin)
    if region == WHOLE_INPUT:
        large = F.interpolate(soft[None], image_size, mode="bilinear")[0]
    else:
        large = _look_up(soft, image_size, region)
    return large > 0.5


def _look_up(soft: Tensor, image_size: tuple[int, int], region: Region) -> Tensor:
    """The values of masks (N, h, w) at the centres of the pixels of a picture: (N, H, W)."""
    lower, upper, share = [], [], []
    near, far = region[:2][::-1], region[2:][::-1]  # y before x, like sizes
    for axis, pixels in enumerate(image_size):
        cells = soft.shape[1 + axis]
        step = (far[axis] - near[axis]) * cells / pixels
        centres = torch.arange(pixels, device=soft.device, dtype=soft.dtype) + 0.5
        place = (centres * step + (near[axis] * cells - 0.5)).clamp(0, cells - 1)
        lower.append(place.long())
        upper.append((place.long() + 1).clamp(max=cells - 1))
        share.append(place - place.floor())
    right = share[1]
    columns = soft[:, :, lower[1]] * (1 - right) + soft[:, :, upper[1]] * right
    down = share[0][:, None]
    return columns[:, lower[0]] * (1 - down) + columns[:, upper[0]] * down
