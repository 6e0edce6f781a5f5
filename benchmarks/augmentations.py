"""What each augmentation makes of training images, with masks and boxes: the pictures in docs/images.

    python benchmarks/augmentations.py --out docs/images

Generates pictures, unless a data set is given, and takes the samples of the first steps as training
does.
"""

import argparse
import colorsys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from yolact.config.presets import preset
from yolact.data.coco import CocoInstances
from yolact.data.dataset import Sample, SampleIndex, TrainingSamples
from yolact.data.formats.read import load_split
from yolact.data.generate import generate_dataset
from yolact.files import replacing
from yolact.model.build import prototype_size
from yolact.processing.preprocess import Preprocessor

PICTURES: dict[str, dict[str, Any]] = {
    "none": {"augmentation": "none"},
    "original": {"augmentation": "original"},
    "large-scale": {"augmentation": "large-scale"},
    "jitter": {"augmentation": "jitter"},
    "copy-paste": {"augmentation": "jitter", "copy_paste": 1.0},
    "mosaic": {"augmentation": "jitter", "mosaic": 1.0},
}
COLUMNS, ROWS, GAP = 4, 2, 6


def main() -> None:
    """Write one picture per augmentation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="data set with a train split")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--size", type=int, default=240, help="of each sample, pixels")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = arguments.data or Path(folder)
        if arguments.data is None:
            generate_dataset(data, num_train=60, num_val=1, seed=1)
        instances = load_split(data, "train")
        for name, how in PICTURES.items():
            sheet = contact_sheet(instances, arguments.size, {"seed": arguments.seed, **how})
            with replacing(arguments.out / f"augmentation-{name}.jpg") as file:
                Image.fromarray(sheet).save(file, quality=85)


def contact_sheet(instances: CocoInstances, side: int, how: dict[str, Any]) -> NDArray[np.uint8]:
    """Samples of as many images side by side, RGB."""
    config = preset("yolact-nano", instances.class_names).resized((side, side)).model
    preprocessor = Preprocessor(config)
    samples = TrainingSamples(instances, preprocessor, prototype_size(config.image_size), **how)
    step = side + GAP
    sheet = np.full((ROWS * step - GAP, COLUMNS * step - GAP, 3), 255, dtype=np.uint8)
    for number in range(ROWS * COLUMNS):
        row, column = divmod(number, COLUMNS)
        picture = drawn(samples[SampleIndex(0, number)], preprocessor)
        sheet[row * step : row * step + side, column * step : column * step + side] = picture
    return sheet


def drawn(sample: Sample, preprocessor: Preprocessor) -> NDArray[np.uint8]:
    """One sample with its truth: masks tinted, boxes as thin lines, crowds as boxes only."""
    normalized = sample.image.numpy().transpose(1, 2, 0)
    colours = np.clip(normalized * preprocessor.std + preprocessor.mean, 0, 255)
    image = np.ascontiguousarray(colours, dtype=np.uint8)
    height, width = image.shape[:2]
    boxes = sample.target.boxes.numpy() * np.array((width, height, width, height), np.float32)
    masks = sample.target.masks.numpy()
    for number, (box, mask) in enumerate(zip(boxes, masks, strict=True)):
        colour = [255 * part for part in colorsys.hsv_to_rgb(number * 0.618 % 1, 0.9, 1)]
        inside = cv2.resize(mask * 1.0, (width, height)) > 0.5
        image[inside] = image[inside] // 2 + np.array(colour, np.uint8) // 2
        x1, y1, x2, y2 = np.rint(box).astype(int).tolist()
        cv2.rectangle(image, (x1, y1), (x2 - 1, y2 - 1), colour, 1)
    return image


if __name__ == "__main__":
    main()
