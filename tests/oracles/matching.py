"""Matching anchors to objects as the specification words it (5.3)."""

from oracles.boxes import Box, area, corners, intersection, iou

BACKGROUND = -1
NEUTRAL = -2


def claims(table: list[list[float]]) -> list[int]:
    """As many rounds as objects, each a search of the whole (object, anchor) table."""
    free_objects, free_anchors = set(range(len(table))), set(range(len(table[0])))
    claimed = [-1] * len(table)
    for _ in table:
        best = None
        for m in sorted(free_objects):
            for a in sorted(free_anchors):
                if best is None or table[m][a] > table[best[0]][best[1]]:
                    best = (m, a)
        if best is None:  # more objects than anchors
            break
        claimed[best[0]] = best[1]
        free_objects.remove(best[0])
        free_anchors.remove(best[1])
    return claimed


def match(anchors: list[Box], boxes: list[Box], crowds: list[Box]) -> list[int]:
    """For each anchor the index of its object, BACKGROUND or NEUTRAL."""
    priors = [corners(anchor) for anchor in anchors]
    matched = [BACKGROUND] * len(priors)
    if boxes:
        table = [[iou(box, prior) for prior in priors] for box in boxes]
        best = [max(range(len(boxes)), key=lambda m: table[m][a]) for a in range(len(priors))]
        overlap = [table[best[a]][a] for a in range(len(priors))]
        for m, a in enumerate(claims(table)):
            best[a], overlap[a] = m, 2.0
        for a in range(len(priors)):
            if overlap[a] >= 0.5:
                matched[a] = best[a]
            elif overlap[a] >= 0.4:
                matched[a] = NEUTRAL
    for a, prior in enumerate(priors):
        covered = [intersection(crowd, prior) / area(prior) for crowd in crowds]
        if matched[a] < 0 and covered and max(covered) > 0.7:
            matched[a] = NEUTRAL
    return matched
