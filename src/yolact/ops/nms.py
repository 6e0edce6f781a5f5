"""Dropping boxes that overlap better ones: Fast NMS, its cross-class variant, and greedy NMS.

All three take the same and answer in the same way, the boxes that survive, best first. There is no
score threshold: a candidate that passed the caller's filter may be kept for every class, however
small its score (spec 4.1, worth 0.2 mAP).
"""

import torch
from torch import Tensor
from torchvision.ops import nms

from yolact.ops.boxes import box_iou


def fast_nms(
    boxes: Tensor,
    scores: Tensor,
    *,
    iou_threshold: float,
    top_k: int,
    max_detections: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Suppress, within each class, every box that overlaps a better one of that class.

    YOLACT paper, section "Fast NMS"; spec 4.1. Unlike greedy NMS a suppressed box still suppresses,
    so each box is decided by itself, and the best can be known without the rest.

    Args:
        boxes: (N, 4) x1 y1 x2 y2.
        scores: (C, N) score of every candidate for every class, all of them numbers.
        iou_threshold: A box is dropped when its IoU with a better one is above this, or undefined.
        top_k: Candidates per class that take part, best first.
        max_detections: So many of the best answers are enough; None: all.

    Returns:
        Index of the candidate, label and score of each detection, each (D,), by descending score.
        Of equal scores the lower class comes first, and then the lower index.
    """
    everything = scores.numel()
    most = everything if max_detections is None else max_detections
    # The matrix of all classes has (C, top, top) entries, that of the best pairs (pairs, boxes).
    affordable = 2 * len(scores) * min(top_k, len(boxes)) ** 2
    pairs = min(4 * most, everything)
    while pairs * min(pairs, len(boxes)) <= affordable:
        found = _survivors_of_best(boxes, scores, iou_threshold, top_k, pairs)
        if len(found[0]) >= most or pairs == everything:
            return found[0][:most], found[1][:most], found[2][:most]
        pairs = min(4 * pairs, everything)
    found = _survivors_of_all(boxes, scores, iou_threshold, top_k)
    return found[0][:most], found[1][:most], found[2][:most]


def _survivors_of_best(
    boxes: Tensor, scores: Tensor, iou_threshold: float, top_k: int, pairs: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Fast NMS for the best pairs of class and candidate; whatever suppresses one is among them."""
    flat = scores.flatten()
    if not pairs:
        return _nothing(scores)
    (places,) = (flat >= flat.topk(pairs).values[-1]).nonzero(as_tuple=True)
    ranked, order = flat[places].sort(descending=True, stable=True)
    places = places[order[:pairs]]
    labels = places.div(scores.shape[1], rounding_mode="floor")
    if scores.shape[1] > top_k:
        takes_part = _rank_in_class(labels) < top_k
        places, labels, ranked = places[takes_part], labels[takes_part], ranked[:pairs][takes_part]
    candidates = places - labels * scores.shape[1]
    is_used = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    is_used[candidates] = True
    (used,) = is_used.nonzero(as_tuple=True)
    box = (is_used.cumsum(0) - 1)[candidates]
    # NaN (two boxes without area) is not below the threshold either.
    overlaps = ~(box_iou(boxes[used], boxes[used]) <= iou_threshold)
    rank = torch.arange(len(labels), dtype=torch.int32, device=boxes.device)
    ranks = rank.new_full((len(scores), len(used)), len(labels))
    ranks[labels, box] = rank
    is_dropped = (overlaps[box] & (ranks[labels] < rank[:, None])).any(dim=1)
    (kept,) = (~is_dropped).nonzero(as_tuple=True)
    return candidates[kept], labels[kept], ranked[kept]


def _rank_in_class(labels: Tensor) -> Tensor:
    """How many of the same label come before each, (P,)."""
    ordered, order = labels.sort(stable=True)
    place = torch.arange(len(labels), device=labels.device)
    rank = torch.empty_like(place)
    rank[order] = place - torch.searchsorted(ordered, ordered)
    return rank


def _survivors_of_all(
    boxes: Tensor, scores: Tensor, iou_threshold: float, top_k: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Fast NMS as it is written: every class has a matrix of its best candidates."""
    sorted_scores, order = _ranked(scores, top_k)
    keep = unsuppressed(boxes[order], iou_threshold)
    labels = torch.arange(len(scores), device=boxes.device)[:, None].expand_as(order)
    kept_scores, kept = sorted_scores[keep].sort(descending=True, stable=True)
    return order[keep][kept], labels[keep][kept], kept_scores


def unsuppressed(boxes: Tensor, iou_threshold: float) -> Tensor:
    """Which of ranked boxes (C, K, 4) overlap none of the better ones in their row, (C, K) bool."""
    ranks = torch.arange(boxes.shape[1], device=boxes.device)
    better = ranks[:, None] < ranks
    # Not `iou > threshold`: NaN, which two boxes without area have, counts as an overlap.
    overlaps = ~(box_iou(boxes, boxes) <= iou_threshold)
    return ~(overlaps & better).any(dim=1)


def _nothing(scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    indices = torch.zeros(0, dtype=torch.int64, device=scores.device)
    return indices, indices, scores.new_zeros(0)


def cross_class_nms(
    boxes: Tensor,
    scores: Tensor,
    *,
    iou_threshold: float,
    top_k: int,
    max_detections: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Fast NMS with each candidate in its best class only, and all classes together (spec 4.1).

    A box is dropped for a better one of any class, so a thing is never reported as two.

    Args:
        boxes: As in :func:`fast_nms`.
        scores: As in :func:`fast_nms`.
        iou_threshold: As in :func:`fast_nms`.
        top_k: Candidates of all classes that take part, best first.
        max_detections: As in :func:`fast_nms`.

    Returns:
        As :func:`fast_nms`; a candidate occurs once at most.
    """
    best, labels = scores.max(dim=0)
    kept, _, kept_scores = fast_nms(
        boxes,
        best[None],
        iou_threshold=iou_threshold,
        top_k=top_k,
        max_detections=max_detections,
    )
    return kept, labels[kept], kept_scores


def greedy_nms(
    boxes: Tensor,
    scores: Tensor,
    *,
    iou_threshold: float,
    top_k: int,
    max_detections: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Exact NMS within each class: only a box that is kept itself suppresses others.

    Keeps all that :func:`fast_nms` keeps, and more where boxes stand close. Two boxes without area
    do not overlap here. Arguments and answer are those of :func:`fast_nms`.
    """
    # Not batched_nms: it moves classes apart by adding to the coordinates, which rounds them.
    found = [_nothing(scores)]
    for label, (of_class, candidates) in enumerate(zip(*_ranked(scores, top_k), strict=True)):
        survivors = nms(boxes[candidates], of_class, iou_threshold)
        found.append(
            (candidates[survivors], torch.full_like(survivors, label), of_class[survivors])
        )
    kept, labels, kept_scores = (torch.cat(parts) for parts in zip(*found, strict=True))
    by_score, order = kept_scores.sort(descending=True, stable=True)
    order = order[:max_detections]
    return kept[order], labels[order], by_score[:max_detections]


def _ranked(scores: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """The best ``top_k`` of each row of ``(C, N)``, and their places, each (C, top)."""
    ranked, order = scores.sort(dim=1, descending=True, stable=True)
    return ranked[:, :top_k], order[:, :top_k]
