"""What holds for any document: sound ones are left alone, and no other stops the doctor."""

import copy
import json
import tempfile
from pathlib import Path

import numpy as np
from faster_coco_eval.core import mask as coco_mask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from yolact.config.presets import yolact_nano
from yolact.data.coco import check_document, to_rle
from yolact.data.doctor.check import examine
from yolact.data.doctor.fix import mend
from yolact.data.formats.read import load_split, read_split
from yolact.errors import DataError

PATIENT = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)  # fmt: skip


@st.composite
def segmentations(draw, height, width):
    """Polygons of three points and more, or an RLE of either form, with a pixel at least."""
    if draw(st.booleans()):
        x = st.floats(0, width, width=32)
        y = st.floats(0, height, width=32)
        outlines = st.lists(
            st.lists(st.tuples(x, y), min_size=3, max_size=6), min_size=1, max_size=3
        )
        return [
            [float(value) for point in outline for value in point] for outline in draw(outlines)
        ]
    mask = draw(arrays(np.uint8, (height, width), elements=st.integers(0, 1)))
    rle = coco_mask.encode(np.asfortranarray(mask))
    if draw(st.booleans()):
        return {"size": [height, width], "counts": rle["counts"].decode()}
    edges = np.flatnonzero(np.diff(mask.T.ravel(), prepend=0, append=0))
    return {"size": [height, width], "counts": np.diff(edges, prepend=0, append=mask.size).tolist()}


@st.composite
def documents(draw):
    """A document that nothing is wrong with, and no two masks of which are the same."""
    categories = [
        {"id": i, "name": f"class {i}"} for i in draw(st.sets(st.integers(0, 9), min_size=1))
    ]
    images, annotations = [], []
    for image_id in draw(st.sets(st.integers(-3, 99), min_size=1, max_size=3)):
        height, width = draw(st.integers(2, 24)), draw(st.integers(2, 24))
        images.append(
            {"id": image_id, "file_name": f"{image_id}.png", "height": height, "width": width}
        )
        seen = set()
        for segmentation in draw(st.lists(segmentations(height, width), max_size=3)):
            rle = to_rle(segmentation, height, width)
            if coco_mask.area(rle) == 0 or rle["counts"] in seen:
                continue
            seen.add(rle["counts"])
            annotation = {
                "id": len(annotations) + 1,
                "image_id": image_id,
                "category_id": draw(st.sampled_from(categories))["id"],
                "segmentation": segmentation,
                "iscrowd": draw(st.sampled_from([0, 0, 0, 1])),
            }
            if draw(st.booleans()):
                annotation["bbox"] = coco_mask.toBbox(rle).tolist()
                annotation["area"] = float(coco_mask.area(rle))
            annotations.append(annotation)
    return {"images": images, "annotations": annotations, "categories": categories}


def write(folder, document, sizes):
    (folder / "annotations").mkdir(parents=True)
    (folder / "images").mkdir()
    for name, (height, width) in sizes.items():
        pixels = np.random.default_rng(len(name)).integers(
            0, 256, (height, width, 3), dtype=np.uint8
        )
        pixels[0, 0] = list(name.encode()[:3].ljust(3))
        Image.fromarray(pixels).save(folder / "images" / name)
    (folder / "annotations" / "instances_train.json").write_text(json.dumps(document))
    return folder


def sizes_of(document):
    return {image["file_name"]: (image["height"], image["width"]) for image in document["images"]}


def examined(folder):
    return examine({"train": read_split(folder, "train")}, yolact_nano, "yolact-nano")


@given(documents())
@PATIENT
def test_a_sound_document_has_no_errors_and_keeps_its_masks(document):
    with tempfile.TemporaryDirectory() as folder:
        data = write(Path(folder) / "data", document, sizes_of(document))
        examination = examined(data)
        assert examination.count("error") == 0, examination.findings
        assert mend(examination, Path(folder) / "out") == []
        mended = read_split(Path(folder) / "out", "train").document
        assert mended == document | {"annotations": sorted(
            document["annotations"],
            key=lambda a: [i["id"] for i in document["images"]].index(a["image_id"]),
        )}  # fmt: skip


JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 200), st.floats(), st.text(max_size=3),
    st.lists(st.floats(-60, 60), max_size=8), st.lists(st.lists(st.floats(), max_size=8), max_size=3),
    st.dictionaries(st.sampled_from(["size", "counts", "id"]), st.integers(-3, 30), max_size=3),
    st.sampled_from(["__delete__", 10**30, -1, [[1, 1, 5, 5]], [3, 4, 0, 0]]),
)  # fmt: skip


@given(documents(), st.data())
@PATIENT
def test_whatever_a_document_holds_it_can_be_mended(document, data):
    sizes = sizes_of(document)
    broken = copy.deepcopy(document)
    for _ in range(data.draw(st.integers(1, 4))):
        entries = broken[data.draw(st.sampled_from(["images", "annotations", "categories"]))]
        if not entries:
            continue
        index = data.draw(st.integers(0, len(entries) - 1))
        value = data.draw(JUNK)
        if data.draw(st.integers(0, 7)) == 0 or not isinstance(entries[index], dict):
            entries[index] = value
        elif entries[index]:
            key = data.draw(st.sampled_from(sorted(entries[index])))
            entries[index][key] = value
            if value == "__delete__":
                del entries[index][key]
    with tempfile.TemporaryDirectory() as folder:
        data_set = write(Path(folder) / "data", broken, sizes)
        try:
            examination = examined(data_set)
        except DataError as error:
            if "names no categories" not in str(error):
                raise
            return
        if examination.count("error") == 0:
            check_document(read_split(data_set, "train"))
        mend(examination, Path(folder) / "out")
        again = examined(Path(folder) / "out")
        assert again.count("error") == 0, again.findings
        load_split(Path(folder) / "out", "train")
