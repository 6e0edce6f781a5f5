"""Draws the pictures of docs/how-yolact-learns.md from the snapshots of a run.

python benchmarks/how_it_learns.py RUN --steps 0 40 160 400 --out docs/images
"""

import argparse
import base64
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from yolact.artifacts.run_directory import SNAPSHOTS
from yolact.files import replacing
from yolact.reporting.scene import picture_from
from yolact.reporting.snapshots import PICTURES, snapshot_file

ORANGE = np.array([255, 140, 26])


def main() -> None:
    """Read the snapshots, write two pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int, nargs="+", default=[0, 40, 160, 400])
    parser.add_argument("--picture", type=int, default=1, help="which watched one, from 1")
    parser.add_argument("--prototypes", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    arguments = parser.parse_args()

    folder = arguments.run / SNAPSHOTS
    place = arguments.picture - 1
    entry = json.loads((folder / PICTURES).read_text(encoding="utf-8"))[place]
    scenes = {
        step: json.loads(snapshot_file(folder, step).read_text(encoding="utf-8"))["scenes"][place]
        for step in arguments.steps
    }
    view = picture_from(entry["view"])
    draw_dictionary(scenes, arguments.prototypes, arguments.out / "learning-prototypes.png")
    draw_masks(scenes, view, entry, arguments.out / "learning-masks.png")


def draw_dictionary(scenes: dict[int, dict[str, Any]], count: int, path: Path) -> None:
    """The same prototypes at each step, a row each."""
    figure, grid = panels(len(scenes), count)
    for row, (step, scene) in zip(grid, scenes.items(), strict=True):
        levels = tiles(scene["prototypes"], len(scene["low"]), scene["size"])
        for k, cell in enumerate(row):
            cell.imshow(levels[k], cmap="gray", vmin=0, vmax=1)
            cell.set_title(f"{k + 1}: {scene['roles'][k]['kind']}", fontsize=8)
        label(row[0], f"step {step}")
    save(figure, path)


def draw_masks(
    scenes: dict[int, dict[str, Any]], view: NDArray[np.uint8], entry: dict[str, Any], path: Path
) -> None:
    """At each step the best detection of the largest object: contributions, sum, crop, picture."""
    figure, grid = panels(len(scenes), 7)
    for row, (step, scene) in zip(grid, scenes.items(), strict=True):
        label(row[0], f"step {step}")
        number, detection = best_of_largest(scene, entry)
        values = prototypes(scene)
        parts = np.asarray(detection["coefficients"])[:, None, None] * values
        limit = np.abs(parts).max()
        inside = window(detection["box"], scene["size"])
        order = np.argsort(-np.abs(parts[:, inside[0], inside[1]].mean(axis=(1, 2))))
        for cell, k in zip(row[:4], order, strict=False):
            cell.imshow(parts[k], cmap="PuOr_r", vmin=-limit, vmax=limit)
            cell.set_title(f"{k + 1} x {detection['coefficients'][k]:.2f}", fontsize=8)
        logits = parts.sum(axis=0)
        most = np.abs(logits).max()
        row[4].imshow(logits, cmap="PuOr_r", vmin=-most, vmax=most)
        row[4].set_title("sum of all", fontsize=8)
        mask = tiles(scene["masks"], len(scene["detections"]), scene["size"])[number]
        row[5].imshow(mask, cmap="gray", vmin=0, vmax=1)
        row[5].set_title("after the crop", fontsize=8)
        row[6].imshow(overlay(view, mask, detection["box"]))
        text = f"score {detection['score']:.2f}, IoU {detection['iou']:.2f}"
        row[6].set_title(text, fontsize=8)
    save(figure, path)


def best_of_largest(scene: dict[str, Any], entry: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """The detection with the best mask of the largest true object, or else the best score."""
    boxes = np.asarray(entry["truth"]["boxes"])
    largest = int(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1).argmax())
    found = list(enumerate(scene["detections"]))
    fitting = [each for each in found if each[1]["truth"] == largest] or found[:1]
    return max(fitting, key=lambda each: each[1]["iou"])


def prototypes(scene: dict[str, Any]) -> NDArray[np.float64]:
    """(k, h, w), as the network made them but for the rounding to 256 levels."""
    low, high = (np.asarray(scene[key])[:, None, None] for key in ("low", "high"))
    return low + tiles(scene["prototypes"], len(low), scene["size"]) * (high - low)


def tiles(uri: str, count: int, size: list[int]) -> NDArray[np.float64]:
    """The tiles (n, h, w) of an atlas, in [0, 1]."""
    data = np.frombuffer(base64.b64decode(uri.partition(",")[2]), np.uint8)
    grey = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    return grey.reshape(count, *size) / 255


def window(box: list[float], size: list[int]) -> tuple[slice, slice]:
    """Rows and columns of a tile that a box covers, one at least."""
    height, width = size
    x1, y1, x2, y2 = np.clip(box, 0, 1) * (width, height, width, height)
    top, left = min(int(y1), height - 1), min(int(x1), width - 1)
    return slice(top, max(int(np.ceil(y2)), top + 1)), slice(left, max(int(np.ceil(x2)), left + 1))


def overlay(
    view: NDArray[np.uint8], mask: NDArray[np.float64], box: list[float]
) -> NDArray[np.uint8]:
    """The picture with a mask and its box."""
    height, width = view.shape[:2]
    large = cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)[..., None]
    shown = np.where(large > 0.5, view * 0.45 + ORANGE * 0.55, view).astype(np.uint8)
    corners = (np.clip(box, 0, 1) * (width, height, width, height)).round().astype(int).tolist()
    return cv2.rectangle(shown, corners[:2], corners[2:], ORANGE.tolist(), 1)


def panels(rows: int, columns: int) -> tuple[Any, Any]:
    """A figure with that many square panels without axes, and the panels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.35 * columns + 0.2, 1.6 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False)
    for cell in grid.ravel():
        cell.set(xticks=[], yticks=[])
    return figure, grid


def label(cell: Any, text: str) -> None:
    """Say in front of a row what it is."""
    cell.set_ylabel(text, fontsize=9)


def save(figure: Any, path: Path) -> None:
    """Write a PNG whole."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)


if __name__ == "__main__":
    main()
