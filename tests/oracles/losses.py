"""The losses as the specification words them (5.4), on nested lists of Python floats."""

from math import exp, log

from oracles import masks as mask_oracle
from oracles.boxes import Box

Grid = list[list[float]]


def encode(box: Box, anchor: Box) -> list[float]:
    px, py, pw, ph = anchor
    gx, gy = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    gw, gh = box[2] - box[0], box[3] - box[1]
    return [
        (gx - px) / (0.1 * pw),
        (gy - py) / (0.1 * ph),
        log(gw / pw) / 0.2,
        log(gh / ph) / 0.2,
    ]


def smooth_l1(values: list[float], targets: list[float]) -> float:
    total = 0.0
    for value, target in zip(values, targets, strict=True):
        distance = abs(value - target)
        total += 0.5 * distance**2 if distance < 1 else distance - 0.5
    return total


def logsumexp(logits: list[float]) -> float:
    highest = max(logits)
    return highest + log(sum(exp(logit - highest) for logit in logits))


def cross_entropy(logits: list[float], column: int) -> float:
    return logsumexp(logits) - logits[column]


def hard_negatives(
    logits: list[list[float]], positive: list[bool], neutral: list[bool], ratio: int
) -> list[int]:
    """Anchors of one image, which are background and look least like it.

    One deviation from the specification: an image without positives is treated as if it had one.
    """
    score = [
        0.0 if positive[a] or neutral[a] else logsumexp(logits[a]) - logits[a][0]
        for a in range(len(logits))
    ]
    ranked = sorted(range(len(logits)), key=lambda a: -score[a])
    number = min(ratio * max(sum(positive), 1), len(logits) - 1)
    return sorted(a for a in ranked[:number] if not positive[a] and not neutral[a])


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


def pixel_bce(probability: float, truth: float) -> float:
    """PyTorch lets no logarithm fall below -100."""

    def safe_log(x: float) -> float:
        return max(log(x), -100.0) if x > 0 else -100.0

    return -truth * safe_log(probability) - (1 - truth) * safe_log(1 - probability)


def mask_term(prototypes: list[Grid], coefficients: list[float], box: Box, truth: Grid) -> float:
    """One positive: BCE over all pixels over the area of its true box; prototypes (k, h, w)."""
    height, width = len(truth), len(truth[0])
    soft = [
        [
            sigmoid(sum(c * p[y][x] for c, p in zip(coefficients, prototypes, strict=True)))
            for x in range(width)
        ]
        for y in range(height)
    ]
    cropped = mask_oracle.crop(soft, box)
    total = 0.0
    for y in range(height):
        for x in range(width):
            total += pixel_bce(cropped[y][x], truth[y][x])
    return total / ((box[2] - box[0]) * width * (box[3] - box[1]) * height)


def downscale(mask: Grid, size: tuple[int, int]) -> Grid:
    resized = mask_oracle.resize(mask, size)
    return [[1.0 if value > 0.5 else 0.0 for value in row] for row in resized]


def semantic_term(logits: list[Grid], labels: list[int], masks: list[Grid]) -> float:
    """One image: logits (C, h, w), masks at any resolution."""
    height, width = len(logits[0]), len(logits[0][0])
    small = [downscale(mask, (height, width)) for mask in masks]
    total = 0.0
    for c, logit in enumerate(logits):
        for y in range(height):
            for x in range(width):
                own = [mask[y][x] for mask, label in zip(small, labels, strict=True) if label == c]
                truth = max(own, default=0.0)
                total += pixel_bce(sigmoid(logit[y][x]), truth)
    return total / (height * width)
