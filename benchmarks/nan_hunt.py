"""Hunt for non-finite losses: train small models on data that is hard to bear.

    python benchmarks/nan_hunt.py --sets 60 --steps 200

Every set is drawn at random from its number: pictures of odd shapes, empty or with 600 objects, with
objects of one pixel, slivers, objects that leave the picture, have no area or no mask, or a mask that
has nothing to do with their box, and pictures of crowds alone. The first sets have one kind of picture
each, the others mix them. Models, optimizers, augmentations and high learning rates take turns. A line
per set says how many steps were skipped; a set with any is a find.
"""

import argparse
import json
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.random import Generator

import yolact
from yolact.artifacts.run_directory import read_metrics

Annotation = dict[str, Any]
SIDE = 64  # of the network input
CLASSES = 3


def rectangle(x: float, y: float, width: float, height: float) -> Annotation:
    """An object whose polygon is its box."""
    corners = [x, y, x + width, y, x + width, y + height, x, y + height]
    return {"bbox": [x, y, width, height], "segmentation": [corners]}


def boxes(rng: Generator, height: int, width: int, number: int) -> list[Annotation]:
    """Rectangles anywhere, from half a pixel to the whole picture."""
    found = []
    for _ in range(number):
        w, h = np.exp(rng.uniform(np.log(0.5), np.log((width, height))))
        found.append(rectangle(rng.uniform(0, width - w), rng.uniform(0, height - h), w, h))
    return found


def nothing(rng: Generator, height: int, width: int) -> list[Annotation]:
    """No object."""
    return []


def ordinary(rng: Generator, height: int, width: int) -> list[Annotation]:
    """A few objects."""
    return boxes(rng, height, width, int(rng.integers(1, 6)))


def many(rng: Generator, height: int, width: int) -> list[Annotation]:
    """600 objects."""
    return boxes(rng, height, width, 600)


def alike(rng: Generator, height: int, width: int) -> list[Annotation]:
    """The same object 600 times."""
    return boxes(rng, height, width, 1) * 600


def pixels(rng: Generator, height: int, width: int) -> list[Annotation]:
    """Objects of one pixel."""
    return [
        rectangle(int(rng.integers(width)), int(rng.integers(height)), 1, 1)
        for _ in range(rng.integers(1, 20))
    ]


def slivers(rng: Generator, height: int, width: int) -> list[Annotation]:
    """Objects as long as the picture and a pixel wide."""
    return [
        rectangle(0, int(rng.integers(height)), width, 1),
        rectangle(int(rng.integers(width)), 0, 1, height),
        rectangle(0, height / 2, width, 0.01),
    ]


def outside(rng: Generator, height: int, width: int) -> list[Annotation]:
    """Objects that reach out of the picture, touch its edge, or lie behind it by their polygon."""
    behind = rectangle(0, 0, width / 2, height / 2)
    behind["segmentation"] = rectangle(width, height, width, height)["segmentation"]
    return [
        rectangle(-width / 2, -height / 2, width, height),
        rectangle(width - 1, height - 1, width, height),
        rectangle(width, 0, width, height),
        behind,
    ]


def flat(rng: Generator, height: int, width: int) -> list[Annotation]:
    """Boxes and polygons without area."""
    x, y = rng.uniform(0, width), rng.uniform(0, height)
    return [
        rectangle(x, y, 0, 0),
        rectangle(0, y, width, 0),
        {"bbox": [0, 0, width, height], "segmentation": [[x, y] * 3]},
    ]


def unmasked(rng: Generator, height: int, width: int) -> list[Annotation]:
    """Objects whose mask is empty."""
    found = boxes(rng, height, width, 5)
    for annotation in found:
        annotation["segmentation"] = {"size": [height, width], "counts": [height * width]}
    return found


def mismatched(rng: Generator, height: int, width: int) -> list[Annotation]:
    """Masks far larger than their boxes, and somewhere else."""
    found = boxes(rng, height, width, 10)
    whole = {"size": [height, width], "counts": [0, height * width]}
    for annotation, other in zip(found, boxes(rng, height, width, 10), strict=True):
        annotation["segmentation"] = whole if rng.random() < 0.5 else other["segmentation"]
    return found


def crowds(rng: Generator, height: int, width: int) -> list[Annotation]:
    """Crowds alone, one of them the whole picture."""
    found = [*boxes(rng, height, width, 3), rectangle(0, 0, width, height)]
    return [annotation | {"iscrowd": 1} for annotation in found]


def whole(rng: Generator, height: int, width: int) -> list[Annotation]:
    """One object that fills the picture, beside a crowd that does."""
    return [rectangle(0, 0, width, height), rectangle(0, 0, width, height) | {"iscrowd": 1}]


KINDS: tuple[Callable[[Generator, int, int], list[Annotation]], ...] = (
    nothing,
    many,
    alike,
    pixels,
    slivers,
    outside,
    flat,
    unmasked,
    mismatched,
    crowds,
    whole,
    ordinary,
)


def write_set(folder: Path, rng: Generator, kinds: tuple[Any, ...], num_images: int) -> None:
    """A data set in COCO format, the same pictures to train on and to validate with."""
    document: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": i + 1, "name": f"thing {i}"} for i in range(CLASSES)],
    }
    for name in ("annotations", "images"):
        (folder / name).mkdir(parents=True)
    for number in range(num_images):
        height, width = (int(side) for side in np.exp(rng.uniform(np.log(8), np.log(200), 2)))
        grey = rng.integers(256)  # every other picture has one colour only
        picture = rng.integers(256, size=(height, width, 3)) if number % 2 else [[[grey] * 3]]
        picture = np.broadcast_to(np.uint8(picture), (height, width, 3))
        cv2.imwrite(str(folder / "images" / f"{number}.png"), np.ascontiguousarray(picture))
        document["images"].append(
            {"id": number, "file_name": f"{number}.png", "height": height, "width": width}
        )
        for annotation in kinds[number % len(kinds)](rng, height, width):
            document["annotations"].append(
                {
                    "id": len(document["annotations"]) + 1,
                    "image_id": number,
                    "category_id": int(rng.integers(CLASSES)) + 1,
                    "iscrowd": 0,
                    **annotation,
                }
            )
    for split in ("train", "val"):
        path = folder / "annotations" / f"instances_{split}.json"
        path.write_text(json.dumps(document), encoding="utf-8")


def hunt(folder: Path, number: int, steps: int) -> tuple[str, int, bool]:
    """Train on set ``number``.

    Returns:
        What was tried, how many steps were skipped, and whether every logged loss is finite.
    """
    rng = np.random.default_rng(number)
    if number < len(KINDS):
        kinds: tuple[Any, ...] = (KINDS[number],)
    else:
        kinds = tuple(KINDS[i] for i in rng.permutation(len(KINDS)))
    num_images = (1, 3, 12)[number % 3]
    kinds = kinds[:num_images]
    write_set(folder / "data", rng, kinds, num_images)
    model = {
        "backbone_widths": [8, 16, 32, 64],
        "fpn_channels": 16,
        "protonet_channels": 16,
        "head_channels": 16,
        "num_prototypes": 8,
        "mask_rescoring": bool(number % 2),
        "rectified_prototypes": bool(number // 2 % 2),
    }
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({"base": "yolact-nano", "size": SIDE, "model": model}))
    optimizer, rate = (("adamw", 2e-2), ("sgd", 1e-2))[number // 3 % 2]
    augmentation = ("original", "jitter", "flip", "none")[number // 2 % 4]
    batch_size = 2
    run = yolact.train(
        folder / "data",
        model=str(recipe),
        out=folder / "run",
        steps=math.ceil(steps * batch_size / 8),  # lengths are stated for batches of eight
        batch_size=batch_size,
        optimizer=optimizer,
        learning_rate=rate * 8 / batch_size,  # and so are rates
        warmup_steps=10,
        augmentation=augmentation,
        freeze_batch_norm=num_images < batch_size,
        workers=0,
        validations=1,
        seed=number,
    )
    rows = [row for row in read_metrics(run.folder / "metrics.jsonl") if "loss/total" in row]
    losses = [value for row in rows for key, value in row.items() if key.startswith("loss/")]
    names = ", ".join(kind.__name__ for kind in kinds)
    tried = f"{num_images} pictures ({names}), {optimizer}, {augmentation}"
    return tried, rows[-1]["skipped_steps"], all(map(math.isfinite, losses))


def main() -> None:
    """Hunt in many sets and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=60)
    parser.add_argument("--first", type=int, default=0, help="number of the first set")
    parser.add_argument("--steps", type=int, default=200)
    arguments = parser.parse_args()
    finds = 0
    for number in range(arguments.first, arguments.first + arguments.sets):
        with tempfile.TemporaryDirectory() as folder:
            tried, skipped, is_finite = hunt(Path(folder), number, arguments.steps)
        finds += skipped > 0 or not is_finite
        print(f"{number}: {tried}: {skipped} steps skipped", flush=True)
    print(f"{finds} of {arguments.sets} sets had a loss or gradient that is not finite.")


if __name__ == "__main__":
    main()
