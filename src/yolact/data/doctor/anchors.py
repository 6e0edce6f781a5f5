"""What the network can make of the objects: anchors that match them, and masks as it sees them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yolact.config.model import AnchorConfig
from yolact.config.presets import Recipe
from yolact.data.augmentations import MIN_OBJECT_SIDE, View
from yolact.data.doctor.findings import Finding
from yolact.data.doctor.geometry import Shape
from yolact.model.build import prototype_size, pyramid_sizes
from yolact.ops.rle import rle_to_crop

Floats = NDArray[np.float64]

LOW_RECALL = 0.9
LEAST_CELLS = 4
"""Cells of the prototypes that a mask must fill to teach a shape."""

SIZE_EDGES = (16.0, 32.0, 64.0, 128.0, 256.0)
"""Between the buckets of sizes: square root of the box's area, pixels of the network's input."""

_SAMPLE = 3000  # objects that scales are fitted to
_FINENESS = 2 ** (1 / 6)  # of the scales tried
_STRIDES_WIDE = (1.25, 8.0)  # narrower anchors answer for what their cell hardly sees
_LEAST_GAIN = 0.002  # of what a scale adds to matches and mean IoU
_WORTH = 0.01  # gain of recall for which new scales are suggested


@dataclass(frozen=True)
class AnchorReport:
    """How well anchors match the objects to train on."""

    model: str
    image_size: tuple[int, int]
    """(height, width) of the network's input."""
    positive_iou: float
    num_objects: int
    """That are large enough to be trained."""
    recall: float
    """Share of them whose best anchor has that IoU."""
    by_size: tuple[tuple[str, int, float], ...]
    """Name, objects and recall of each bucket of sizes that has objects."""
    fitted_scales: tuple[tuple[float, ...], ...] | None
    """Scales for each level that match more; None if there are none worth it."""
    fitted_recall: float | None


def check_anchors(
    split: str, shapes: Sequence[Shape], recipe: Recipe, model: str, *, is_training: bool
) -> tuple[AnchorReport | None, list[Finding]]:
    """Sizes in the network's input, prototypes, and, for the split to train on, anchors.

    Args:
        split: Name of the split.
        shapes: Its objects.
        recipe: The model's input, anchors and positive threshold.
        model: Name of the recipe, for the report.
        is_training: Whether it is the split that anchors are for.
    """
    kept: list[Shape] = []
    boxes: list[Floats] = []
    findings: list[Finding] = []
    cells = prototype_size(recipe.model.image_size)
    for shape in shapes:
        if shape.labelled.is_crowd or shape.box is None or shape.bounds is None:
            continue
        box = _in_input(shape, recipe)
        where = shape.labelled.where
        width, height = box[2:] - box[:2]
        if min(width, height) < MIN_OBJECT_SIDE:
            text = (
                f"{where} is {width:.1f}x{height:.1f} pixels in the network's input; under "
                f"{MIN_OBJECT_SIDE:.0f} it is dropped."
            )
            findings.append(shape.labelled.finding("dropped-in-training", split, text))
            continue
        kept.append(shape)
        boxes.append(box)
        # A mask is sampled only where it may be small: this costs more than all the rest.
        if width * height < 64 * LEAST_CELLS * _pixels_per_cell(recipe, cells):
            num_cells = int(_window(shape, recipe).map_mask(rle_to_crop(shape.rle), cells).sum())
            if num_cells < LEAST_CELLS:
                text = f"{where} fills {num_cells} of the prototypes' {cells[1]}x{cells[0]} cells."
                findings.append(shape.labelled.finding("lost-at-prototypes", split, text))
    if not is_training or not kept:
        return None, findings
    stacked = np.array(boxes)
    iou = best_ious(stacked, recipe.model.anchors, recipe.model.image_size)
    threshold = recipe.training.loss.positive_iou
    for shape, value in zip(kept, iou, strict=True):
        if value < threshold:
            text = f"{shape.labelled.where} overlaps its best anchor by an IoU of {value:.2f}."
            findings.append(shape.labelled.finding("no-anchor", split, text))
    report = _report(stacked, iou, recipe, model)
    if report.recall < LOW_RECALL:
        text = (
            f"{np.count_nonzero(iou < threshold)} of {len(iou)} objects have no anchor of IoU "
            f"{threshold:g} in {model} at {report.image_size[1]}x{report.image_size[0]}."
        )
        findings.append(Finding("low-anchor-recall", split, text))
    return report, findings


def best_ious(boxes: Floats, anchors: AnchorConfig, image_size: tuple[int, int]) -> Floats:
    """(N,) IoU of each box with its best anchor.

    Anchors of one shape lie on a grid, and the overlap of two boxes is that of their columns times
    that of their rows. So the nearest column and the nearest row of cells give the best anchor, and
    the table of all anchors is never built.

    Args:
        boxes: (N, 4) x1 y1 x2 y2 in pixels of the network's input.
        anchors: Scales and ratios.
        image_size: Network input, (height, width) in pixels.
    """
    best = np.zeros(len(boxes))
    for grid, scales in zip(pyramid_sizes(image_size), anchors.scales, strict=True):
        for scale in scales:
            iou = _level_ious(boxes, grid, scale, anchors, image_size)
            np.maximum(best, iou, out=best)
    return best


def fit_scales(
    boxes: Floats, anchors: AnchorConfig, image_size: tuple[int, int], positive_iou: float
) -> tuple[tuple[float, ...], ...]:
    """As many scales per level as ``anchors`` has, chosen one by one so that most objects match.

    Each choice is the level and scale that adds most: objects matched first, then mean IoU. A
    level tries widths between 1.25 and 8 of its strides.

    Args:
        boxes: (N, 4) x1 y1 x2 y2 in pixels of the network's input, N > 0.
        anchors: Their ratios and number of scales are kept.
        image_size: Network input, (height, width) in pixels.
        positive_iou: From which an anchor matches.
    """
    if len(boxes) > _SAMPLE:
        boxes = boxes[np.linspace(0, len(boxes) - 1, _SAMPLE).astype(int)]
    candidates: list[tuple[int, float]] = []
    gains: list[Floats] = []
    for level, grid in enumerate(pyramid_sizes(image_size)):
        stride = image_size[0] / grid[0]
        low, high = stride * _STRIDES_WIDE[0], stride * _STRIDES_WIDE[1]
        for step in range(int(np.log(high / low) / np.log(_FINENESS)) + 1):
            scale = float(round(low * _FINENESS**step))
            candidates.append((level, scale))
            gains.append(_level_ious(boxes, grid, scale, anchors, image_size))
    table = np.array(gains)
    table = table + 2.0 * (table >= positive_iou)
    per_level = len(anchors.scales[0])
    chosen: list[list[float]] = [[] for _ in anchors.scales]
    reached = np.zeros(len(boxes))
    while any(len(level) < per_level for level in chosen):
        is_open = np.array([len(chosen[level]) < per_level for level, _ in candidates])
        worth = np.where(is_open, np.maximum(table, reached).mean(axis=1), -1)
        pick = int(worth.argmax())
        if worth[pick] < reached.mean() + _LEAST_GAIN:
            break
        level, scale = candidates[pick]
        chosen[level].append(scale)
        reached = np.maximum(reached, table[pick])
    for scales, own in zip(chosen, anchors.scales, strict=True):
        scales += own[: per_level - len(scales)]  # where more gain nothing
    return tuple(tuple(sorted(scales)) for scales in chosen)


def _report(boxes: Floats, iou: Floats, recipe: Recipe, model: str) -> AnchorReport:
    threshold = recipe.training.loss.positive_iou
    matched = iou >= threshold
    sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
    bucket = np.digitize(sides, SIZE_EDGES)
    by_size = tuple(
        (_bucket_name(i), int((bucket == i).sum()), float(matched[bucket == i].mean()))
        for i in range(len(SIZE_EDGES) + 1)
        if (bucket == i).any()
    )
    recall = float(matched.mean())
    anchors, image_size = recipe.model.anchors, recipe.model.image_size
    scales = fit_scales(boxes, anchors, image_size, threshold)
    fitted = AnchorConfig(scales, anchors.ratios, anchors.square)
    fitted_recall = float((best_ious(boxes, fitted, image_size) >= threshold).mean())
    is_worth_it = fitted_recall >= recall + _WORTH
    return AnchorReport(
        model=model,
        image_size=image_size,
        positive_iou=threshold,
        num_objects=len(boxes),
        recall=recall,
        by_size=by_size,
        fitted_scales=scales if is_worth_it else None,
        fitted_recall=fitted_recall if is_worth_it else None,
    )


def _bucket_name(index: int) -> str:
    if index == 0:
        return f"under {SIZE_EDGES[0]:g}"
    if index == len(SIZE_EDGES):
        return f"{SIZE_EDGES[-1]:g} and more"
    return f"{SIZE_EDGES[index - 1]:g} to {SIZE_EDGES[index]:g}"


def _level_ious(
    boxes: Floats,
    grid: tuple[int, int],
    scale: float,
    anchors: AnchorConfig,
    image_size: tuple[int, int],
) -> Floats:
    """(N,) best IoU with the anchors of one level and scale, all ratios."""
    best = np.zeros(len(boxes))
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    for ratio in anchors.ratios:
        width = scale * np.sqrt(ratio)
        height = width if anchors.square else scale / np.sqrt(ratio)
        columns = _best_overlap(boxes[:, 0], boxes[:, 2], width, grid[1], image_size[1])
        rows = _best_overlap(boxes[:, 1], boxes[:, 3], height, grid[0], image_size[0])
        shared = columns * rows
        np.maximum(best, shared / (area + width * height - shared), out=best)
    return best


def _best_overlap(low: Floats, high: Floats, side: float, cells: int, length: int) -> Floats:
    """Overlap of intervals with the best of ``cells`` intervals of ``side``, evenly spaced."""
    step = length / cells
    nearest = np.clip(np.floor((low + high) / 2 / step), 0, cells - 1)
    centre = (nearest + 0.5) * step
    overlap = np.minimum(high, centre + side / 2) - np.maximum(low, centre - side / 2)
    return np.asarray(np.maximum(overlap, 0.0))


def _window(shape: Shape, recipe: Recipe) -> View:
    """The part of the picture's plane that the network's input shows."""
    assert shape.labelled.picture.size is not None
    height, width = shape.labelled.picture.size
    whole = View(0, 0, width, height)
    rows, columns = recipe.model.image_size
    return whole.widened(columns / rows) if recipe.model.letterbox else whole


def _in_input(shape: Shape, recipe: Recipe) -> Floats:
    """The object's box, x1 y1 x2 y2 in pixels of the network's input."""
    height, width = recipe.model.image_size
    mapped = _window(shape, recipe).map_boxes(np.array([shape.box], dtype=np.float32))[0]
    return np.asarray(mapped, dtype=np.float64) * (width, height, width, height)


def _pixels_per_cell(recipe: Recipe, cells: tuple[int, int]) -> float:
    height, width = recipe.model.image_size
    return height / cells[0] * width / cells[1]
