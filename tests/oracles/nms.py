"""NMS as the specification words it (4.1): class by class, pair by pair."""

from math import isnan

from oracles.boxes import Box, iou

Detection = tuple[int, int, float]


def fast_nms(
    boxes: list[Box], scores: list[list[float]], *, iou_threshold: float, top_k: int
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
    return sorted(found, key=lambda detection: -detection[2])


def cross_class_nms(
    boxes: list[Box], scores: list[list[float]], *, iou_threshold: float, top_k: int
) -> list[Detection]:
    """Every candidate in its best class, whatever overlaps it."""
    classes = range(len(scores))
    best = [max(classes, key=lambda label: scores[label][i]) for i in range(len(boxes))]
    order = sorted(range(len(boxes)), key=lambda i: -scores[best[i]][i])[:top_k]
    found = []
    for rank, i in enumerate(order):
        overlaps = [iou(boxes[better], boxes[i]) for better in order[:rank]]
        if all(overlap <= iou_threshold for overlap in overlaps):
            found.append((i, best[i], scores[best[i]][i]))
    return found


def greedy_nms(
    boxes: list[Box], scores: list[list[float]], *, iou_threshold: float, top_k: int
) -> list[Detection]:
    """Take the best that is left, drop what overlaps it, again and again."""
    found = []
    for label, of_class in enumerate(scores):
        left = sorted(range(len(boxes)), key=lambda i: -of_class[i])[:top_k]
        while left:
            best = left[0]
            found.append((best, label, of_class[best]))
            left = [i for i in left[1:] if not iou(boxes[best], boxes[i]) > iou_threshold]
    return sorted(found, key=lambda detection: -detection[2])
