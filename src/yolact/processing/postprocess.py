"""From Predictions to Detections: softmax, filter, decode, NMS (spec 4.1)."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from yolact.config.detection import DetectionConfig
from yolact.ops.box_coding import decode_boxes
from yolact.ops.masks import assemble_masks, crop_masks
from yolact.ops.nms import cross_class_nms, fast_nms, greedy_nms
from yolact.structures import Detections, Predictions

_NMS = {"fast": fast_nms, "cross-class": cross_class_nms, "greedy": greedy_nms}


def postprocess(
    predictions: Predictions,
    anchors: Tensor,
    config: DetectionConfig,
    mask_scorer: Callable[[Tensor], Tensor] | None = None,
) -> list[Detections]:
    """Detections of every image of a batch, best score first; an image may have none.

    Args:
        predictions: Raw output of the network.
        anchors: (A, 4) cx cy w h, those of the network.
        config: Thresholds and choices.
        mask_scorer: Of a model that judges its masks, see :func:`score_masks`.
    """
    scores = predictions.class_logits.float().softmax(dim=-1)[..., 1:]
    found = [
        select_detections(
            predictions.box_offsets[i].float(),
            scores[i],
            predictions.coefficients[i].float(),
            predictions.prototypes[i].float(),
            anchors,
            config,
        )
        for i in range(len(scores))
    ]
    return found if mask_scorer is None else [score_masks(one, mask_scorer) for one in found]


def select_detections(
    box_offsets: Tensor,
    scores: Tensor,
    coefficients: Tensor,
    prototypes: Tensor,
    anchors: Tensor,
    config: DetectionConfig,
) -> Detections:
    """Detections of one image.

    Args:
        box_offsets: (A, 4).
        scores: (A, C) foreground probabilities.
        coefficients: (A, k).
        prototypes: (k, h, w).
        anchors: (A, 4).
        config: Thresholds and choices.
    """
    candidates = (scores.amax(dim=1) > config.score_threshold).nonzero()[:, 0]
    boxes = decode_boxes(box_offsets[candidates], anchors[candidates])
    kept, labels, kept_scores = _NMS[config.nms](
        boxes,
        scores[candidates].T.contiguous(),
        iou_threshold=config.iou_threshold,
        top_k=config.candidates_per_class,
    )
    if config.labels is not None:
        wanted = torch.isin(labels, labels.new_tensor(config.labels))
        kept, labels, kept_scores = kept[wanted], labels[wanted], kept_scores[wanted]
    best = slice(config.max_detections)
    kept, labels, kept_scores = kept[best], labels[best], kept_scores[best]
    return Detections(
        boxes=boxes[kept],
        scores=kept_scores,
        labels=labels,
        coefficients=coefficients[candidates[kept]],
        prototypes=prototypes,
        crop=config.crop,
        crop_margin=config.crop_margin,
    )


def score_masks(detections: Detections, mask_scorer: Callable[[Tensor], Tensor]) -> Detections:
    """The same detections with scores for their masks (YOLACT++, spec 4.2 step 4).

    Args:
        detections: Of one image. Their order and their scores stay.
        mask_scorer: Cropped soft masks (N, h, w) -> IoU predicted for every class (N, C).
    """
    soft = assemble_masks(detections.prototypes, detections.coefficients)
    ious = mask_scorer(crop_masks(soft, detections.boxes))
    iou = ious.gather(1, detections.labels[:, None])[:, 0]
    return replace(detections, mask_scores=detections.scores * iou)
