"""A model in the middle of its training, seen on a handful of pictures, and the files that keep it.

In the run directory's ``snapshots/``:

``pictures.json`` holds what never changes, a list with one entry a picture::

    {"name": file name, "image_id": 7, "view": URI of the network's input as a JPEG,
     "size": [h, w] of the tiles, "truth": {"names": […], "boxes": [[x1, y1, x2, y2] fractions], "masks": atlas URI}}

``00000120.json`` is a snapshot, after 120 steps::

    {"step": 120, "seconds": 31.4, "negatives": {class name: share}, "metrics": Metrics.to_dict() or null,
     "scenes": [one a picture, what reporting.scene.sums gives, each detection with "iou" and "truth"]}

where ``iou`` is the largest mask IoU with an object of the picture and ``truth`` that object's place, or
null without any overlap. Prototypes and masks are smaller than the network's, so that a snapshot of four
pictures has less than 0.2 MB.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from yolact.artifacts.run_directory import PICTURES, snapshot_file
from yolact.evaluation.coco import Metrics
from yolact.files import write_text
from yolact.inference.explanation import Explanation
from yolact.ops.masks import resize_masks
from yolact.reporting.scene import atlas_uri, picture_uri, shrink, sums, tile_size

_CELLS = 40_000  # of all prototypes of a picture: 32 tiles of 35 x 35


@dataclass(frozen=True)
class WatchedPicture:
    """A picture that is looked at again and again, and what there is to find."""

    name: str
    path: Path
    image_id: int
    boxes: Tensor
    """(M, 4) x1 y1 x2 y2, fractions of the network input."""
    labels: Tensor
    """(M,) int64."""
    masks: Tensor
    """(M, h, w) bool, at the resolution of the network's input."""


@dataclass(frozen=True)
class Snapshot:
    """What a model makes of the watched pictures at one step of its training."""

    step: int
    seconds: float
    """Training time until then."""
    pictures: tuple[WatchedPicture, ...]
    explanations: tuple[Explanation, ...]
    """One a picture: the best detections, whatever their score, at full resolution."""
    negatives: dict[str, float]
    """By class, the share of the hardest background anchors that look most like it (OHEM)."""
    metrics: Metrics | None
    """Of the validation at this step, if there was one."""


def write_pictures(folder: Path, snapshot: Snapshot) -> None:
    """Write ``pictures.json``: the watched pictures as the network sees them, and their truth.

    Args:
        folder: The run's ``snapshots/``.
        snapshot: Any one of the run: the pictures and their tiles are the same in all.
    """
    entries = []
    for picture, explanation in zip(snapshot.pictures, snapshot.explanations, strict=True):
        size = tile_size(explanation.detections.prototypes, _CELLS)
        names = explanation.result.names
        entries.append(
            {
                "name": picture.name,
                "image_id": picture.image_id,
                "view": picture_uri(explanation.view),
                "size": list(size),
                "truth": {
                    "names": [names[label] for label in picture.labels.tolist()],
                    "boxes": [[round(side, 5) for side in box] for box in picture.boxes.tolist()],
                    "masks": atlas_uri(shrink(picture.masks.float(), size)),
                },
            }
        )
    _write(folder / PICTURES, entries)


def write_snapshot(folder: Path, snapshot: Snapshot) -> None:
    """Write one snapshot.

    Args:
        folder: The run's ``snapshots/``.
        snapshot: Its step gives the file its name.
    """
    scenes = []
    for picture, explanation in zip(snapshot.pictures, snapshot.explanations, strict=True):
        scene = sums(explanation, cells=_CELLS)
        for detection, (iou, truth) in zip(
            scene["detections"], nearest_truth(explanation, picture.masks), strict=True
        ):
            detection |= {"iou": round(iou, 4), "truth": truth}
        scenes.append(scene)
    document = {
        "step": snapshot.step,
        "seconds": round(snapshot.seconds, 2),
        "negatives": {name: round(share, 6) for name, share in snapshot.negatives.items()},
        "metrics": None if snapshot.metrics is None else snapshot.metrics.to_dict(),
        "scenes": scenes,
    }
    _write(snapshot_file(folder, snapshot.step), document)


def nearest_truth(explanation: Explanation, masks: Tensor) -> list[tuple[float, int | None]]:
    """Of each detection the largest mask IoU with a true object, and which; 0 and None without overlap.

    Args:
        explanation: Of a picture; its masks are enlarged to the size of the true ones.
        masks: (M, h, w) bool, in the frame of the network's input.
    """
    height, width = masks.shape[1:]
    soft = explanation.cropped_masks
    if not len(soft) or not len(masks):
        return [(0.0, None)] * len(soft)
    found = (resize_masks(soft, (height, width)) > 0.5).flatten(1).float()
    true = masks.flatten(1).float()
    overlap = found @ true.T
    union = found.sum(dim=1)[:, None] + true.sum(dim=1) - overlap
    largest, which = torch.where(union > 0, overlap / union.clamp(min=1), 0).max(dim=1)
    return [
        (iou, index if iou > 0 else None)
        for iou, index in zip(largest.tolist(), which.tolist(), strict=True)
    ]


def _write(path: Path, document: Any) -> None:
    write_text(path, json.dumps(document, separators=(",", ":"), allow_nan=False) + "\n")
