import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from yolact.errors import UsageError
from yolact.inference.sinks import FORMATS, ResultWriter, writing_server_files
from yolact.ops.masks import CroppedMask
from yolact.results import Masks, Result


def result(path):
    bitmap = np.ones((4, 6), bool)
    bitmap[1:3, 2:4] = False
    crops = [CroppedMask(2, 3, bitmap), CroppedMask(0, 0, np.zeros((0, 0), bool))]
    return Result(
        boxes=np.array([[2, 3, 8, 7], [0, 0, 1, 1]], np.float32),
        scores=np.array([0.9, 0.5], np.float32),
        mask_scores=np.array([0.9, 0.5], np.float32),
        labels=np.array([1, 0]),
        names=("a/b", "nut"),
        masks=Masks.from_crops(crops, (20, 30)),
        image_size=(20, 30),
        path=Path(path),
        image=np.full((20, 30, 3), 200, np.uint8),
    )


def test_every_format(tmp_path):
    writer = ResultWriter(tmp_path, FORMATS, (7, 9))
    writer.write(result("x/street.jpg"))
    writer.write(result("y/street.png"))
    writer.close()
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {
        "coco_images.json",
        "coco_results.json",
        *(f"overlay/{name}.png" for name in ("street", "street-2")),
        *(f"json/{name}.json" for name in ("street", "street-2")),
        *(f"masks/{n}/{i}.png" for n in ("street", "street-2") for i in ("000-nut", "001-a-b")),
        *(f"crops/{name}/000-nut.png" for name in ("street", "street-2")),  # an empty mask has none
    }
    entries = json.loads((tmp_path / "coco_results.json").read_text())
    assert [(e["image_id"], e["category_id"]) for e in entries] == [(1, 9), (1, 7), (2, 9), (2, 7)]
    with Image.open(tmp_path / "crops" / "street" / "000-nut.png") as cut:
        assert cut.mode == "RGBA"
        assert np.asarray(cut)[:, :, 3].sum() == 20 * 255  # the hole is transparent


def test_unknown_format(tmp_path):
    with pytest.raises(UsageError, match="cannot save 'gif'"):
        ResultWriter(tmp_path, ["json", "gif"], ())


def test_files_for_the_test_server(tmp_path):
    entries = [
        {
            "image_id": 7,
            "category_id": 18,
            "bbox": [1.26, 2, 3.04, size],
            "score": 0.5,
            "segmentation": {"size": [20, 30], "counts": "x"},
            **mask_score,
        }
        # The second lies outside its picture, the mask of the third ranks otherwise than its box.
        for size, mask_score in ((4, {}), (0, {}), (5, {"mask_score": 0.25}))
    ]
    with writing_server_files(tmp_path / "masks.json", tmp_path / "boxes.json") as add:
        add(entries[:1])
        add(entries[1:])
    masks, boxes = (json.loads((tmp_path / f"{n}.json").read_text()) for n in ("masks", "boxes"))
    common = {"image_id": 7, "category_id": 18, "score": 0.5}
    mask = common | {"segmentation": {"size": [20, 30], "counts": "x"}}
    assert masks == [mask, mask | {"score": 0.25}]
    assert boxes == [common | {"bbox": [1.3, 2, 3.0, height]} for height in (4, 5)]


def test_masks_with_scores_of_their_own_have_their_own_file(tmp_path):
    writer = ResultWriter(tmp_path, ["coco"], (7, 9))
    writer.write(result("plain.jpg"))
    rescored = replace(result("rescored.jpg"), mask_scores=np.array([0.3, 1.25], np.float32))
    writer.write(rescored)
    writer.close()
    both = json.loads((tmp_path / "coco_results.json").read_text())
    assert [entry["score"] for entry in both] == [0.9, 0.5, 0.9, 0.5]
    assert [entry.get("mask_score") for entry in both] == [None, None, 0.3, 1.25]
    masks = json.loads((tmp_path / "coco_mask_results.json").read_text())
    assert [entry["score"] for entry in masks] == [0.9, 0.5, 0.3, 1.25]
    assert [entry["segmentation"] for entry in masks] == [e["segmentation"] for e in both]
    assert all("bbox" not in entry for entry in masks)
