"""Dropping boxes that overlap better ones: Fast NMS, its cross-class variant, and greedy NMS.

All three take the same and answer in the same way, every box that survives, best first. There is
no score threshold: a candidate that passed the caller's filter may be kept for every class, however
small its score (spec 4.1, worth 0.2 mAP).
"""

import torch
from torch import Tensor
from torchvision.ops import nms

from yolact.ops.boxes import box_iou


def fast_nms(
    boxes: Tensor, scores: Tensor, *, iou_threshold: float, top_k: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Suppress, within each class, every box that overlaps a better one of that class.

    YOLACT paper, section "Fast NMS"; spec 4.1. Unlike greedy NMS a suppressed box still suppresses,
    so all classes are decided at once, by one matrix.

    Args:
        boxes: (N, 4) x1 y1 x2 y2.
        scores: (C, N) score of every candidate for every class.
        iou_threshold: A box is dropped when its IoU with a better one is above this, or undefined.
        top_k: Candidates per class that take part, best first.

    Returns:
        Index of the candidate, label and score of each detection, each (D,), by descending score.
    """
    num_classes, num_candidates = scores.shape
    if num_candidates == 0:
        nothing = torch.zeros(0, dtype=torch.int64, device=boxes.device)
        return nothing, nothing, scores.new_zeros(0)
    sorted_scores, order = _ranked(scores, top_k)
    keep = unsuppressed(boxes[order], iou_threshold)
    labels = torch.arange(num_classes, device=boxes.device)[:, None].expand_as(order)
    kept_scores, kept = sorted_scores[keep].sort(descending=True)
    return order[keep][kept], labels[keep][kept], kept_scores


def unsuppressed(boxes: Tensor, iou_threshold: float) -> Tensor:
    """Which of ranked boxes (C, K, 4) overlap none of the better ones in their row, (C, K) bool."""
    ranks = torch.arange(boxes.shape[1], device=boxes.device)
    better = ranks[:, None] < ranks
    # Not `iou > threshold`: NaN, which two boxes without area have, counts as an overlap.
    overlaps = ~(box_iou(boxes, boxes) <= iou_threshold)
    return ~(overlaps & better).any(dim=1)


def cross_class_nms(
    boxes: Tensor, scores: Tensor, *, iou_threshold: float, top_k: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Fast NMS with each candidate in its best class only, and all classes together (spec 4.1).

    A box is dropped for a better one of any class, so a thing is never reported as two.

    Args:
        boxes: As in :func:`fast_nms`.
        scores: As in :func:`fast_nms`.
        iou_threshold: As in :func:`fast_nms`.
        top_k: Candidates of all classes that take part, best first.

    Returns:
        As :func:`fast_nms`; a candidate occurs once at most.
    """
    best, labels = scores.max(dim=0)
    kept, _, kept_scores = fast_nms(boxes, best[None], iou_threshold=iou_threshold, top_k=top_k)
    return kept, labels[kept], kept_scores


def greedy_nms(
    boxes: Tensor, scores: Tensor, *, iou_threshold: float, top_k: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Exact NMS within each class: only a box that is kept itself suppresses others.

    Keeps all that :func:`fast_nms` keeps, and more where boxes stand close. Two boxes without area
    do not overlap here. Arguments and answer are those of :func:`fast_nms`.
    """
    # Not batched_nms: it moves classes apart by adding to the coordinates, which rounds them.
    kept, labels, kept_scores = [], [], []
    for label, (of_class, candidates) in enumerate(zip(*_ranked(scores, top_k), strict=True)):
        survivors = nms(boxes[candidates], of_class, iou_threshold)
        kept.append(candidates[survivors])
        labels.append(torch.full_like(survivors, label))
        kept_scores.append(of_class[survivors])
    by_score, order = torch.cat(kept_scores).sort(descending=True)
    return torch.cat(kept)[order], torch.cat(labels)[order], by_score


def _ranked(scores: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """The best ``top_k`` of each row of ``(C, N)``, and their places, each (C, top)."""
    ranked, order = scores.sort(dim=1, descending=True)
    return ranked[:, :top_k], order[:, :top_k]
