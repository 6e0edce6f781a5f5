"""Hypothesis strategies that several tests share: valid label sets, odd as they may be."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from faster_coco_eval.core import mask as coco_mask
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

SIDES = st.integers(1, 14)
NAMES = st.one_of(
    st.sampled_from(["cat", "Cat", "ant", "__ignore__", "", " a  b ", "x/y"]), st.text(max_size=8)
)
FILES = ("a.png", "sub/a.png", "b.jpg", "images/a.png", "train/c.png", "d.JPG", "e")


@st.composite
def masks(draw: st.DrawFn, height: int, width: int) -> np.ndarray:
    """(height, width) bool: noise, holes, parts, one pixel, everything, or nothing."""
    kind = draw(st.sampled_from(["noise", "ring", "pixel", "full", "empty"]))
    mask = np.zeros((height, width), dtype=bool)
    if kind == "noise":
        return draw(arrays.arrays(bool, (height, width)))
    if kind == "ring":
        mask[:] = True
        mask[1:-1, 1:-1] = False
    if kind == "pixel":
        mask[draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))] = True
    if kind == "full":
        mask[:] = True
    return mask


@st.composite
def segmentations(draw: st.DrawFn, height: int, width: int) -> Any:
    """Any of COCO's forms: polygons, also crossing or beyond the edge, and both kinds of RLE."""
    kind = draw(st.sampled_from(["polygons", "rle", "counts"]))
    if kind == "polygons":
        number = st.one_of(
            st.integers(0, 2 * max(height, width)).map(lambda n: n / 2),
            st.floats(-0.5, max(height, width) + 0.5),
        )
        polygon = st.integers(3, 6).flatmap(
            lambda n: st.lists(number, min_size=2 * n, max_size=2 * n)
        )
        return draw(st.lists(polygon, min_size=1, max_size=3))
    mask = draw(masks(height, width))
    if kind == "counts":
        runs, value = [], False
        for pixel in mask.T.ravel():
            if pixel != value or not runs:
                runs += [0, 0] if pixel and not runs else [0]
                value = bool(pixel)
            runs[-1] += 1
        return {"size": [height, width], "counts": runs}
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [height, width], "counts": rle["counts"].decode()}


@st.composite
def coco_documents(draw: st.DrawFn) -> dict[str, Any]:
    """A COCO instances document that nothing is wrong with; see ``write_coco``."""
    ids = st.integers(0, 99)
    category_ids = draw(st.lists(ids, min_size=1, max_size=3, unique=True))
    categories = [{"id": number, "name": draw(NAMES)} for number in category_ids]
    image_ids = draw(st.lists(ids, max_size=3, unique=True))
    files = draw(st.permutations(FILES))
    images = [
        {"id": number, "file_name": name, "height": draw(SIDES), "width": draw(SIDES)}
        for number, name in zip(image_ids, files, strict=False)
    ]
    annotations: list[dict[str, Any]] = []
    for image in images:
        for _ in range(draw(st.integers(0, 4))):
            annotation: dict[str, Any] = {
                "id": len(annotations) + 1,
                "image_id": image["id"],
                "category_id": draw(st.sampled_from(category_ids)),
                "segmentation": draw(segmentations(image["height"], image["width"])),
            }
            if draw(st.booleans()):
                annotation["iscrowd"] = int(draw(st.integers(0, 3)) == 0)
            if draw(st.booleans()):
                annotation["area"] = draw(st.integers(0, 50))
                annotation["bbox"] = [0, 0, image["width"], image["height"]]
            if draw(st.booleans()):
                annotation["attributes"] = {"occluded": draw(st.booleans()), "note": "x"}
            annotations.append(annotation)
    return {"images": images, "annotations": annotations, "categories": categories}


def write_coco(folder: Path, **documents: dict[str, Any]) -> Path:
    """Write documents as the splits of a data set, each image with a picture of its own colour."""
    for split, document in documents.items():
        for index, image in enumerate(document["images"]):
            path = folder / split / image["file_name"]
            path.parent.mkdir(parents=True, exist_ok=True)
            kind = "jpeg" if path.suffix.lower() == ".jpg" else "png"
            size = image["width"], image["height"]
            Image.new("RGB", size, (80 * index, 0, 0)).save(path, kind)
        (folder / split).mkdir(parents=True, exist_ok=True)
        (folder / "annotations").mkdir(exist_ok=True)
        text = json.dumps(document)
        (folder / "annotations" / f"instances_{split}.json").write_text(text)
    return folder
