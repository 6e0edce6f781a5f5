"""From Predictions to Detections: softmax, filter, decode, NMS (spec 4.1)."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

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
    found = []
    for logits, offsets, coefficients, prototypes in zip(
        predictions.class_logits,
        predictions.box_offsets,
        predictions.coefficients,
        predictions.prototypes,
        strict=True,
    ):
        possible = _possible_candidates(logits, config.score_threshold)
        found.append(
            select_detections(
                offsets[possible].float(),
                logits[possible].float().softmax(dim=1)[:, 1:],
                coefficients[possible].float(),
                prototypes.float(),
                anchors[possible],
                config,
            )
        )
    return found if mask_scorer is None else [score_masks(one, mask_scorer) for one in found]


def _possible_candidates(logits: Tensor, score_threshold: float) -> Tensor:
    """Indices of the anchors whose best score may be above a threshold; most are not.

    The best of two classes, background and the other, has a probability that more classes only
    lower, and that needs no sum over all of them.

    Args:
        logits: (A, C + 1), column 0 is background.
        score_threshold: In [0, 1].
    """
    lead = logits[:, 1:].amax(dim=1).float() - logits[:, 0].float()
    # A little less, since what is just above the threshold may be rounded.
    least = torch.tensor(score_threshold * (1 - 1e-4), dtype=torch.float64).logit().item()
    return (lead > least).nonzero()[:, 0]


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
        anchors: (A, 4), all or some that hold every candidate.
        config: Thresholds and choices.
    """
    candidates = (scores.amax(dim=1) > config.score_threshold).nonzero()[:, 0]
    boxes = decode_boxes(box_offsets[candidates], anchors[candidates])
    kept, labels, kept_scores = _suppress(boxes, scores[candidates].T, config)
    return Detections(
        boxes=boxes[kept],
        scores=kept_scores,
        labels=labels,
        coefficients=coefficients[candidates[kept]],
        prototypes=prototypes,
        crop=config.crop,
        crop_margin=config.crop_margin,
    )


def _suppress(
    boxes: Tensor, scores: Tensor, config: DetectionConfig
) -> tuple[Tensor, Tensor, Tensor]:
    """Candidate, label and score of what NMS leaves of boxes (n, 4) with scores (C, n)."""
    nms = partial(
        _NMS[config.nms], iou_threshold=config.iou_threshold, top_k=config.candidates_per_class
    )
    if config.labels is None:
        return nms(boxes, scores.contiguous(), max_detections=config.max_detections)
    wanted = torch.tensor(sorted(set(config.labels)), device=boxes.device)
    if config.nms == "cross-class":  # other classes suppress, too
        found = nms(boxes, scores.contiguous())
        (places,) = torch.isin(found[1], wanted).nonzero(as_tuple=True)
        places = places[: config.max_detections]
        return found[0][places], found[1][places], found[2][places]
    kept, labels, kept_scores = nms(boxes, scores[wanted], max_detections=config.max_detections)
    return kept, wanted[labels], kept_scores


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
