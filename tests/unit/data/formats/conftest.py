"""A folder as a tool leaves it, out of a table of names and contents."""

import json

import numpy as np
import pytest
from PIL import Image

from yolact.data.coco import decode_mask
from yolact.data.formats.read import load_split


@pytest.fixture
def lay_out(tmp_path):
    """Write files into ``tmp_path / "data"``: text, bytes, JSON, arrays as PNG, (width, height) as a picture."""

    def lay_out(files):
        folder = tmp_path / "data"
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            match content:
                case str():
                    path.write_text(content, encoding="utf-8")
                case bytes():
                    path.write_bytes(content)
                case np.ndarray():
                    Image.fromarray(content).save(path)
                case (int(width), int(height)):
                    Image.new("RGB", (width, height), (9, 99, 199)).save(path)
                case _:
                    path.write_text(json.dumps(content), encoding="utf-8")
        return folder

    return lay_out


def rows(mask):
    """A mask as text, a row a word."""
    return " ".join("".join(".#"[int(value)] for value in row) for row in mask)


@pytest.fixture
def seen():
    """Picture -> what a reader found on it, as (class, mask) drawn with ``rows``."""

    def seen(data, split="val"):
        instances = load_split(data, split)
        found = {}
        for record in instances.records:
            drawn = []
            for annotation in record.annotations:
                crop = decode_mask(annotation.segmentation, record.height, record.width)
                mask = np.zeros((record.height, record.width), dtype=bool)
                height, width = crop.bitmap.shape
                mask[crop.y : crop.y + height, crop.x : crop.x + width] = crop.bitmap
                name = instances.class_names[annotation.label]
                drawn.append((name + "*" * annotation.is_crowd, rows(mask)))
            found[record.path.name] = drawn
        return found

    return seen
