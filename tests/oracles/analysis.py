"""Errors of one picture as the module's docstring words them: pixel by pixel, pair by pair."""

import numpy as np


def overlap(found, truth, is_crowd):
    """IoU of two bitmaps; with a crowd, the share of the detection that lies in it."""
    shared = whole = 0
    for a, b in zip(found.ravel(), truth.ravel(), strict=True):
        shared += bool(a and b)
        whole += bool(a) if is_crowd else bool(a or b)
    return shared / whole if shared else 0.0


def judge(objects, detections, *, score, iou):
    """What became of every object and detection.

    Args:
        objects: (class, bitmap, is crowd) each.
        detections: (class, bitmap, score) each.

    Returns:
        ``{(kind, place of the object or None, place of the detection or None)}``, where ``right`` and
        ``excused`` are kinds, too.
    """
    outcome = set()
    holder = {}  # object -> detection

    def best(candidates, found):
        """The most overlapping one; then one of the same class; then the first."""
        ranking = []
        for place in candidates:
            label, bitmap, _ = objects[place]
            ranking.append((-overlap(found[1], bitmap, False), label != found[0], place))
        return min(ranking)[2] if ranking else None

    real = [place for place, (_, _, is_crowd) in enumerate(objects) if not is_crowd]
    queue = [d for d, (_, _, sure) in enumerate(detections) if sure > score]
    queue.sort(key=lambda d: (-detections[d][2], d))

    def covers(d, place):
        return overlap(detections[d][1], objects[place][1], objects[place][2]) >= iou

    def tries(d, place):
        same = detections[d][0] == objects[place][0]
        return same and overlap(detections[d][1], objects[place][1], False) >= 0.1

    second_round = []
    for d in queue:
        place = best([p for p in real if p not in holder and covers(d, p)], detections[d])
        if place is None:
            second_round.append(d)
        else:
            holder[place] = d
            same = detections[d][0] == objects[place][0]
            outcome.add(("right" if same else "wrong class", place, d))
    third_round = []
    for d in second_round:
        in_crowd = False
        for place, (label, _, is_crowd) in enumerate(objects):
            if is_crowd and label == detections[d][0] and covers(d, place):
                in_crowd = True
        place = best([p for p in real if covers(d, p)], detections[d])
        if in_crowd:
            outcome.add(("excused", None, d))
        elif place is not None:
            outcome.add(("double", place, d))
        else:
            third_round.append(d)
    for d in third_round:
        free = best([p for p in real if p not in holder and tries(d, p)], detections[d])
        taken = best([p for p in real if p in holder and tries(d, p)], detections[d])
        if free is not None:
            holder[free] = d
            outcome.add(("badly cut", free, d))
        elif taken is not None:
            outcome.add(("double", taken, d))
        else:
            outcome.add(("invented", None, d))
    for place in real:
        if place not in holder:
            outcome.add(("missed", place, None))
    return outcome


def confusion(pictures, outcomes, classes):
    """(C + 1, C + 1) counts of what ``judge`` gave for each ``(objects, detections)``."""
    table = np.zeros((classes + 1, classes + 1), dtype=int)
    for (objects, detections), outcome in zip(pictures, outcomes, strict=True):
        for kind, place, d in outcome:
            true = None if place is None else objects[place][0]
            found = None if d is None else detections[d][0]
            if kind in ("right", "wrong class"):
                table[true, found] += 1
            if kind in ("missed", "badly cut"):
                table[true, classes] += 1
            if kind in ("invented", "badly cut"):
                table[classes, found] += 1
    return table
