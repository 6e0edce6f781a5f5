"""Fast NMS (YOLACT paper, section "Fast NMS"; spec 4.1): suppression by one matrix, no loop."""

import torch
from torch import Tensor

from yolact.ops.boxes import box_iou


def fast_nms(
    boxes: Tensor, scores: Tensor, *, iou_threshold: float, top_k: int, max_detections: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Suppress, within each class, every box that overlaps a better one of that class.

    Unlike greedy NMS a suppressed box still suppresses, so all classes are decided at once. There
    is no score threshold here: a candidate that passed the caller's filter may be kept for every
    class, however small its score (spec 4.1, worth 0.2 mAP).

    Args:
        boxes: (N, 4) x1 y1 x2 y2.
        scores: (C, N) score of every candidate for every class.
        iou_threshold: A box is dropped when its IoU with a better one is above this, or undefined.
        top_k: Candidates per class that take part, best first.
        max_detections: Kept over all classes, best first.

    Returns:
        Index of the candidate, label and score of each detection, each (D,), D <= max_detections,
        by descending score.
    """
    num_classes, num_candidates = scores.shape
    if num_candidates == 0:
        nothing = torch.zeros(0, dtype=torch.int64, device=boxes.device)
        return nothing, nothing, scores.new_zeros(0)
    sorted_scores, order = scores.sort(dim=1, descending=True)
    sorted_scores, order = sorted_scores[:, :top_k], order[:, :top_k]
    iou = box_iou(boxes[order], boxes[order])  # (C, top, top)
    # NaN (two boxes without area) must survive triu and max, so that it fails the comparison.
    worst = iou.triu(diagonal=1).amax(dim=1)  # (C, top): largest overlap with a better box
    keep = worst <= iou_threshold
    labels = torch.arange(num_classes, device=boxes.device)[:, None].expand_as(order)
    kept_scores, kept = sorted_scores[keep].sort(descending=True)
    kept = kept[:max_detections]
    return order[keep][kept], labels[keep][kept], kept_scores[:max_detections]
