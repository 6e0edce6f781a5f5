"""What all services show of a snapshot and of an analysis, as plain pictures, tables and numbers."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yolact.config.detection import DISPLAY_SCORE
from yolact.evaluation.analysis import Analysis, confusion_names, curves_by_class
from yolact.inference.explanation import Explanation
from yolact.ops.masks import CroppedMask
from yolact.ops.prototypes import between_extremes
from yolact.reporting.snapshots import Snapshot, WatchedPicture, nearest_truth
from yolact.results import Masks, Result
from yolact.visualization.confusion import draw_confusion
from yolact.visualization.contact_sheet import contact_sheet
from yolact.visualization.draw import draw_instances

PREDICTION_COLUMNS = ("step", "picture", "class", "score", "box", "mask IoU", "prototypes")
"""Of :func:`predictions`. The IoU is the largest with a true object, whatever its class; the prototypes
are the three with the largest mean contribution inside the box, counted from 1, with coefficients."""

_STRONGEST = 3
_GAP = 4  # pixels between the two halves of an overlay
_TILE = (72, 96)  # pixels of a prototype on its sheet


@dataclass(frozen=True)
class View:
    """One watched picture, everything in pixels of the network's input."""

    name: str
    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    truth: Result
    """All scores are 1."""
    found: Result
    """Whatever the score, without what a diverged network has put nowhere."""

    @property
    def shown(self) -> Result:
        """What was found with a score that is worth drawing."""
        return self.found.filter(DISPLAY_SCORE)

    def overlay(self) -> NDArray[np.uint8]:
        """The truth on the left, what is shown on the right: (H, 2 W + 4, 3) RGB."""
        truth = draw_instances(
            self.image,
            self.truth.boxes,
            self.truth.labels,
            None,
            self.truth.names,
            self.truth.masks.crops(),
        )
        gap = np.full((len(truth), _GAP, 3), 255, dtype=np.uint8)
        return np.concatenate((truth, gap, self.shown.plot()), axis=1)


def views(snapshot: Snapshot) -> list[View]:
    """The watched pictures of a snapshot."""
    pairs = zip(snapshot.pictures, snapshot.explanations, strict=True)
    return [_view(picture, explanation) for picture, explanation in pairs]


def _view(picture: WatchedPicture, explanation: Explanation) -> View:
    image = explanation.view
    size, names = (image.shape[0], image.shape[1]), explanation.result.names
    found = Result.from_detections(explanation.detections, size, names, image=image)
    found = found[np.flatnonzero(np.isfinite(found.boxes).all(axis=1))]
    ones = np.ones(len(picture.labels), dtype=np.float32)
    truth = Result(
        boxes=(picture.boxes.numpy() * np.tile(size[::-1], 2)).astype(np.float32),
        scores=ones,
        mask_scores=ones,
        labels=picture.labels.numpy(),
        names=names,
        masks=Masks.from_crops((CroppedMask(0, 0, mask.numpy()) for mask in picture.masks), size),
        image_size=size,
    )
    return View(picture.name, image, truth, found)


def class_map(objects: Result) -> NDArray[np.uint8]:
    """(H, W): at each pixel the label + 1 of the best object there, 0 where none is.

    Args:
        objects: Best first, of at most 255 classes.
    """
    classes = np.zeros(objects.image_size, dtype=np.uint8)
    for index in reversed(range(len(objects))):
        x, y, bitmap = objects.masks.crop(index)
        height, width = bitmap.shape
        classes[y : y + height, x : x + width][bitmap] = objects.labels[index] + 1
    return classes


def prototype_sheet(explanation: Explanation) -> NDArray[np.uint8]:
    """All prototypes of a picture, each between its own least and greatest value: (H, W, 3) RGB.

    Captions are a prototype's number, from 1, and what it responds to.
    """
    levels, _, _ = between_extremes(explanation.detections.prototypes)
    grey = (levels * 255).round().byte().numpy()
    return contact_sheet(
        [np.repeat(tile[..., None], 3, axis=2) for tile in grey],
        [f"{number}: {role.kind}" for number, role in enumerate(explanation.roles, 1)],
        columns=8,
        cell=_TILE,
    )


def predictions(snapshot: Snapshot) -> list[tuple[int, str, str, float, str, float, str]]:
    """A row for every detection, see :data:`PREDICTION_COLUMNS`; boxes in fractions of the view."""
    rows = []
    for picture, explanation in zip(snapshot.pictures, snapshot.explanations, strict=True):
        found, names = explanation.detections, explanation.result.names
        for index, (iou, _) in enumerate(nearest_truth(explanation, picture.masks)):
            strongest = explanation.strongest(index)[:_STRONGEST]
            weights = found.coefficients[index].tolist()
            rows.append(
                (
                    snapshot.step,
                    picture.name,
                    names[int(found.labels[index])],
                    round(float(found.scores[index]), 4),
                    " ".join(f"{side:.3f}" for side in found.boxes[index].tolist()),
                    round(iou, 4),
                    ", ".join(f"{place + 1}: {weights[place]:+.2f}" for place in strongest),
                )
            )
    return rows


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as Markdown."""
    lines = (columns, ["---"] * len(columns), *rows)
    return "".join(
        f"| {' | '.join(str(cell).replace('|', '&#124;') for cell in line)} |\n" for line in lines
    )


def histograms(snapshot: Snapshot) -> dict[str, NDArray[np.float32]]:
    """All scores, coefficients and values of prototypes, each flat; without those that are not finite."""
    kinds = ("scores", "coefficients", "prototypes")
    values = {
        kind: np.concatenate(
            [
                getattr(each.detections, kind).float().numpy().ravel()
                for each in snapshot.explanations
            ]
        )
        for kind in kinds
    }
    finite = {kind: numbers[np.isfinite(numbers)] for kind, numbers in values.items()}
    return {kind: numbers for kind, numbers in finite.items() if len(numbers)}


def precision_curves(analysis: Analysis) -> Iterator[tuple[str, dict[str, NDArray[np.float64]]]]:
    """Of each shape and IoU threshold, as ``mask_0.50``, the curves there are, ``all`` first.

    As of :func:`yolact.evaluation.analysis.curves_by_class`. Without any there is nothing.
    """
    for shape, by_threshold in analysis.precision.items():
        for threshold, table in by_threshold.items():
            curves = curves_by_class(analysis.class_names, table)
            drawn = {name: curve for name, curve in curves.items() if curve is not None}
            if drawn:
                yield f"{shape}_{threshold}", drawn


def confusion_rows(analysis: Analysis) -> list[tuple[str, str, int]]:
    """Each cell of the confusion matrix: true class, found class, count."""
    truths, found = confusion_names(analysis.class_names)
    return [
        (truth, name, int(analysis.confusion[row, column]))
        for row, truth in enumerate(truths)
        for column, name in enumerate(found)
    ]


def confusion_picture(analysis: Analysis) -> NDArray[np.uint8]:
    """The confusion matrix as a picture: (H, W, 3) RGB."""
    return draw_confusion(analysis.confusion, *confusion_names(analysis.class_names))
