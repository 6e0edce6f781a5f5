"""Does an exported file answer like its model? Two lists of results in, numbers out."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from yolact.config.detection import DISPLAY_SCORE, DetectionConfig
from yolact.evaluation.coco import Metrics
from yolact.export.int8_report import Int8Report
from yolact.ops.boxes import box_iou
from yolact.ops.masks import CroppedMask
from yolact.results import Result

LEAST_IOU = 0.99
"""Of a detection's masks; below it a file does not answer like its model."""
_FEW_PIXELS = 2  # may differ in any mask: of one of 50 pixels a single one is two per cent
TIE = 1e-3
"""Scores so close to a limit may fall on either side of it."""
_SAME_BOX = 0.9  # IoU from which two boxes may be of one detection
_MOST_DIFFERENCE = 1e-3  # of raw outputs, as a fraction of their largest value


@dataclass(frozen=True)
class Agreement:
    """How far what a file finds is from what its model finds."""

    expected: int
    """Detections of the model that count."""
    matched: int
    """Those that the file has as well."""
    unmatched: int
    """Detections that one has without the other, near-ties left out."""
    box_difference: float
    """The largest, in pixels of the picture."""
    score_difference: float
    """The largest."""
    least_iou: float
    """Of the masks of a matched detection; 1 if there is none."""
    mean_iou: float
    wrong_masks: int
    """Those of an IoU below ``LEAST_IOU`` that differ in more than a few pixels."""

    @property
    def agrees(self) -> bool:
        """Whether the file answers like the model."""
        return not self.unmatched and not self.wrong_masks


@dataclass(frozen=True)
class PictureParity(Agreement):
    """One picture, seen by the model and by the file."""

    name: str
    image_size: tuple[int, int]
    """(height, width)."""


@dataclass(frozen=True)
class Parity:
    """What came of checking an exported file; it may be opened like the file's path."""

    path: Path
    masks: str
    level: float
    """Detections of this score and above were compared."""
    pictures: tuple[PictureParity, ...]
    raw_difference: float | None = None
    """The largest between the networks' outputs, as a fraction of the largest value; of raw files."""
    metrics: dict[str, Metrics] = field(default_factory=dict)
    """COCO AP of ``model`` and ``file``, if there was data to measure on."""
    int8: Int8Report | None = None
    """How the network came to int8, if it did."""

    def __fspath__(self) -> str:
        """The file."""
        return str(self.path)

    @property
    def total(self) -> Agreement:
        """Of all pictures together."""
        each = self.pictures
        matched = sum(one.matched for one in each)
        return Agreement(
            expected=sum(one.expected for one in each),
            matched=matched,
            unmatched=sum(one.unmatched for one in each),
            box_difference=max((one.box_difference for one in each), default=0.0),
            score_difference=max((one.score_difference for one in each), default=0.0),
            least_iou=min((one.least_iou for one in each), default=1.0),
            mean_iou=sum(one.mean_iou * one.matched for one in each) / matched if matched else 1.0,
            wrong_masks=sum(one.wrong_masks for one in each),
        )

    @property
    def agrees(self) -> bool:
        """Whether the file answers like the model in all pictures."""
        is_close = self.raw_difference is None or self.raw_difference <= _MOST_DIFFERENCE
        return is_close and self.total.agrees

    @property
    def is_vain(self) -> bool:
        """Whether nothing was found that could be compared."""
        return self.raw_difference is None and not self.total.expected

    def complaint(self) -> str:
        """One sentence that says what is wrong with a file that does not agree."""
        wrong, total = [each for each in self.pictures if not each.agrees], self.total
        if not wrong:
            return f"the network in the file gives other numbers: {self.raw_difference:.1g} apart."
        return (
            f"the file does not answer like the model in {len(wrong)} of {len(self.pictures)} "
            f"pictures: detections without a partner: {total.unmatched}; masks with an IoU below "
            f"{LEAST_IOU}: {total.wrong_masks}."
        )

    def to_dict(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        document = asdict(self)
        document["path"] = str(self.path)
        document["metrics"] = {name: one.to_dict() for name, one in self.metrics.items()}
        return document | {"total": asdict(self.total), "agrees": self.agrees}


def level_of(results: Sequence[Result]) -> float:
    """The score from which on detections are compared: what is displayed, or the best there are."""
    best = max((float(result.scores[0]) for result in results if len(result)), default=0.0)
    return DISPLAY_SCORE if best >= DISPLAY_SCORE else best / 2


def compare(
    name: str, expected: Result, found: Result, detection: DetectionConfig, level: float
) -> PictureParity:
    """Match what a model and a file found in one picture, and measure the differences.

    Every detection of the model, the best first, takes the free one of the file with its label
    whose box is most like its own. What is left over on either side has failed, unless its score is
    so near a limit that rounding decides.

    Args:
        name: Of the picture.
        expected: The model's.
        found: The file's; what scores less than ``level`` may be missing.
        detection: What both were made with.
        level: See :func:`level_of`.
    """
    pairs = _matches(expected, found)
    limits = [level, detection.score_threshold]
    for result in (expected, found):
        if len(result) == detection.max_detections:
            limits.append(float(result.scores[-1]))
    counted = [(a, b) for a, b in pairs if expected.scores[a] >= level]
    ours, theirs = {a for a, _ in pairs}, {b for _, b in pairs}
    alone = [expected.scores[i] for i in range(len(expected)) if i not in ours]
    alone += [found.scores[i] for i in range(len(found)) if i not in theirs]
    failed = [s for s in alone if s >= level and min(abs(s - limit) for limit in limits) > TIE]
    overlaps = [_overlap(expected.masks.crop(a), found.masks.crop(b)) for a, b in counted]
    ious = [shared / union if union else 1.0 for shared, union in overlaps]
    a, b = np.array(counted, dtype=np.int64).reshape(-1, 2).T
    return PictureParity(
        name=name,
        image_size=expected.image_size,
        expected=int((expected.scores >= level).sum()),
        matched=len(counted),
        unmatched=len(failed),
        box_difference=_largest(expected.boxes[a] - found.boxes[b]),
        score_difference=max(
            _largest(expected.scores[a] - found.scores[b]),
            _largest(expected.mask_scores[a] - found.mask_scores[b]),
        ),
        least_iou=min(ious, default=1.0),
        mean_iou=float(np.mean(ious)) if ious else 1.0,
        wrong_masks=sum(
            shared < LEAST_IOU * union and union - shared > _FEW_PIXELS
            for shared, union in overlaps
        ),
    )


def _overlap(a: CroppedMask, b: CroppedMask) -> tuple[int, int]:
    """Pixels in both of two masks in one picture, and in any."""
    areas = int(np.count_nonzero(a.bitmap)) + int(np.count_nonzero(b.bitmap))
    x, y = max(a.x, b.x), max(a.y, b.y)
    right = min(a.x + a.bitmap.shape[1], b.x + b.bitmap.shape[1])
    bottom = min(a.y + a.bitmap.shape[0], b.y + b.bitmap.shape[0])
    both = 0
    if right > x and bottom > y:
        shared = [
            mask.bitmap[y - mask.y : bottom - mask.y, x - mask.x : right - mask.x]
            for mask in (a, b)
        ]
        both = int(np.count_nonzero(shared[0] & shared[1]))
    return both, areas - both


def _matches(expected: Result, found: Result) -> list[tuple[int, int]]:
    """Pairs of indices, each index once."""
    iou = box_iou(torch.from_numpy(expected.boxes), torch.from_numpy(found.boxes)).numpy()
    # Boxes without area have no IoU: they are the same if their corners are.
    apart = np.abs(expected.boxes[:, None] - found.boxes[None]).max(axis=2, initial=0)
    likeness = np.where(np.isnan(iou), apart < TIE, iou)
    likeness[expected.labels[:, None] != found.labels[None]] = 0
    pairs = []
    for index, row in enumerate(likeness):
        if row.size and row.max() >= _SAME_BOX:
            best = int(row.argmax())
            pairs.append((index, best))
            likeness[:, best] = 0
    return pairs


def _largest(differences: NDArray[np.float32]) -> float:
    return float(np.abs(differences).max(initial=0))
