"""Fast NMS as the specification words it (4.1): class by class, pair by pair."""

from math import isnan

from oracles.boxes import Box, iou

Detection = tuple[int, int, float]


def fast_nms(
    boxes: list[Box],
    scores: list[list[float]],
    *,
    iou_threshold: float,
    top_k: int,
    max_detections: int,
) -> list[Detection]:
    """Scores are given per class; returns (candidate, class, score), best first."""
    found = []
    for label, of_class in enumerate(scores):
        order = sorted(range(len(boxes)), key=lambda i: -of_class[i])[:top_k]
        for rank, i in enumerate(order):
            keep = True
            for better in order[:rank]:  # kept or not
                overlap = iou(boxes[better], boxes[i])
                if isnan(overlap) or overlap > iou_threshold:
                    keep = False
            if keep:
                found.append((i, label, of_class[i]))
    found.sort(key=lambda detection: -detection[2])
    return found[:max_detections]
