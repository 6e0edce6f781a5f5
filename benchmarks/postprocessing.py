"""What detection and finished masks cost after the network, beside the plain path of the specification.

    python benchmarks/postprocessing.py --threads 1 2

The predictions are made up, but of a trained network's kind: some objects, around each a few anchors
that agree more or less, background elsewhere, smooth masks. Both paths are measured interleaved, round
by round, and the median is printed: compare figures of one run only.
"""

import argparse
from collections.abc import Callable

import cv2
import torch
from torch import Tensor
from torch.nn import functional as F

from interleaved import interleaved
from yolact.config.detection import DetectionConfig
from yolact.config.presets import preset
from yolact.model.build import build_anchors
from yolact.ops.box_coding import encode_boxes
from yolact.ops.boxes import box_iou, cxcywh_to_xyxy
from yolact.processing import reference
from yolact.processing.postprocess import postprocess
from yolact.results import Masks
from yolact.structures import Detections, Predictions

ANCHORS = build_anchors(preset("yolact-resnet50").model)
CLASSES = 80


def object_boxes(number: int, side: float, random: torch.Generator) -> Tensor:
    """Boxes inside the picture, (N, 4), half of them larger than ``side`` of it, half smaller."""
    sides = (torch.randn(number, 1, generator=random) * 0.6).exp() * side
    aspect = (torch.randn(number, 1, generator=random) * 0.3).exp()
    sizes = torch.cat((sides * aspect, sides / aspect), dim=1).clamp(0.03, 0.98)
    centers = sizes / 2 + torch.rand(number, 2, generator=random) * (1 - sizes)
    return cxcywh_to_xyxy(torch.cat((centers, sizes), dim=1))


def network_output(objects: int) -> Predictions:
    """For 19,248 anchors, some ten of which are candidates for each object."""
    random = torch.Generator().manual_seed(objects)
    truth = object_boxes(objects, 0.25, random)
    labels = torch.randint(CLASSES, (objects,), generator=random)
    overlap, nearest = box_iou(cxcywh_to_xyxy(ANCHORS), truth).max(dim=1)
    near = overlap > 0.45
    count = int(near.sum())
    logits = torch.randn(len(ANCHORS), CLASSES + 1, generator=random)
    logits[:, 0] += 9
    logits[near, 0] -= 6
    logits[near, labels[nearest[near]] + 1] += 4 + torch.randn(count, generator=random) * 1.5
    offsets = torch.randn(len(ANCHORS), 4, generator=random) * 0.3
    offsets[near] += encode_boxes(truth[nearest[near]], ANCHORS[near])
    coefficients = torch.randn(len(ANCHORS), 32, generator=random).tanh()
    prototypes = torch.rand(32, 138, 138, generator=random)
    return Predictions(offsets[None], logits[None], coefficients[None], prototypes[None])


def found(number: int, side: float) -> Detections:
    """Detections with 138 x 138 prototypes of 32 kinds, and smooth masks."""
    random = torch.Generator().manual_seed(number)
    coarse = torch.randn(1, 32, 7, 7, generator=random)
    prototypes = F.interpolate(coarse, (138, 138), mode="bicubic")[0].relu()
    return Detections(
        boxes=object_boxes(number, side, random),
        scores=torch.linspace(0.9, 0.1, number),
        labels=torch.zeros(number, dtype=torch.int64),
        coefficients=torch.randn(number, 32, generator=random).tanh(),
        prototypes=prototypes,
    )


def detection_tasks() -> dict[str, dict[str, Callable[[], object]]]:
    """Both ways from the network's output to detections, for several numbers of objects."""
    rows: dict[str, dict[str, Callable[[], object]]] = {}
    config = DetectionConfig()
    for output in map(network_output, (5, 15, 40)):
        scores = output.class_logits[0].softmax(dim=1)[:, 1:]
        candidates = int((scores.amax(dim=1) > config.score_threshold).sum())
        rows[f"detection, {candidates} candidates"] = {
            "fast": lambda output=output: postprocess(output, ANCHORS, config),
            "plain": lambda output=output: reference.detect(output, ANCHORS, config),
        }
    return rows


def mask_tasks(detections: Detections, size: tuple[int, int]) -> dict[str, Callable[[], object]]:
    """From detections to finished masks, and what is made of those that are finished."""
    kept = Masks(detections, size)
    return {
        "fast": lambda: Masks(detections, size).runs(),
        "plain": lambda: reference.make_masks(detections, size),
        "+ bitmaps": lambda: Masks(detections, size).crops(),
        "+ full size": lambda: Masks(detections, size).numpy(),
        "rle()": kept.rle,
        "polygons()": kept.polygons,
    }


def main() -> None:
    """Measure and print tables in milliseconds, and what masks take in memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()

    columns = ("fast", "plain", "+ bitmaps", "+ full size", "rle()", "polygons()")
    cases = {
        "100 masks, 640x480": (found(100, 0.2), (480, 640)),
        "20 masks, 1920x1080": (found(20, 0.2), (1080, 1920)),
        "100 masks, 1920x1080": (found(100, 0.2), (1080, 1920)),
        "20 large masks, 1920x1080": (found(20, 3.0), (1080, 1920)),
    }
    with torch.inference_mode():
        rows = detection_tasks() | {name: mask_tasks(*case) for name, case in cases.items()}
        for threads in arguments.threads:
            torch.set_num_threads(threads)
            cv2.setNumThreads(threads)
            title = f"ms, median, {threads} thread{'s' if threads > 1 else ''}"
            print(f"{title:<28}" + "".join(f"{name:>12}" for name in columns))
            for name, ways in rows.items():
                times = interleaved(ways, arguments.rounds)
                cells = (f"{times[c]:12.2f}" if c in times else " " * 12 for c in columns)
                print(f"{name:<28}" + "".join(cells))
        print(f"{'kept in memory, kB':<28}" + f"{'fast':>12}{'plain':>12}")
        for name, (detections, (height, width)) in cases.items():
            kept = sum(runs.lengths.nbytes for runs in Masks(detections, (height, width)).runs())
            print(f"{name:<28}{kept / 1e3:12.0f}{len(detections) * height * width / 1e3:12.0f}")


if __name__ == "__main__":
    main()
