import json
from itertools import combinations

import cv2
import numpy as np
import pytest
from faster_coco_eval.core import mask as coco_mask
from pycocotools.coco import COCO

from yolact.data.generate import CLASS_NAMES, generate_dataset
from yolact.errors import UsageError

SIZE = (240, 320)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("generated")
    generate_dataset(out, num_train=60, num_val=3, seed=1)
    return out


@pytest.fixture(scope="module")
def coco(folder):
    return COCO(folder / "annotations" / "instances_train.json")


@pytest.fixture(scope="module")
def objects(coco):
    """Pairs of annotation and decoded mask, crowds left out."""
    return [(a, decoded(coco, a)) for a in coco.anns.values() if not a["iscrowd"]]


def decoded(coco, annotation):
    # The decoder of pycocotools itself warns about NumPy 2.
    return coco_mask.decode(coco.annToRLE(annotation))


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def boxes_meet(one, other):
    (x1, y1, w1, h1), (x2, y2, w2, h2) = one["bbox"], other["bbox"]
    return min(x1 + w1, x2 + w2) > max(x1, x2) and min(y1 + h1, y2 + h2) > max(y1, y2)


def test_writes_the_promised_files_and_no_others(folder):
    expected = {f"images/train_{i:05d}.jpg" for i in range(60)}
    expected |= {f"images/val_{i:05d}.jpg" for i in range(3)}
    expected |= {f"annotations/instances_{split}.json" for split in ("train", "val")}
    assert set(contents(folder)) == expected


def test_pictures_have_the_stated_size(folder, coco):
    for image in coco.imgs.values():
        picture = cv2.imread(str(folder / "images" / image["file_name"]))
        assert picture.shape == (*SIZE, 3)
        assert (image["height"], image["width"]) == SIZE


def test_same_seed_gives_the_same_bytes(tmp_path):
    for name, seed in (("one", 7), ("same", 7), ("other", 8)):
        generate_dataset(tmp_path / name, num_train=4, num_val=2, seed=seed)
    one, same, other = (contents(tmp_path / name) for name in ("one", "same", "other"))
    assert one == same
    assert all(one[name] != other[name] for name in one)


def test_a_picture_does_not_depend_on_how_many_are_made(folder, tmp_path):
    generate_dataset(tmp_path, num_train=8, num_val=1, seed=1)
    many, few = contents(folder), contents(tmp_path)
    for name in few:
        if name.endswith(".jpg"):
            assert few[name] == many[name]
    path = "annotations/instances_train.json"
    few, many = json.loads(few[path]), json.loads(many[path])
    assert few["images"] == many["images"][:8]
    assert few["annotations"] == many["annotations"][: len(few["annotations"])]


def test_splits_differ(folder):
    files = contents(folder)
    assert files["images/train_00000.jpg"] != files["images/val_00000.jpg"]


def test_every_class_occurs_and_ids_have_gaps(coco):
    assert len(CLASS_NAMES) >= 8
    assert tuple(category["name"] for category in coco.cats.values()) == CLASS_NAMES
    assert {a["category_id"] for a in coco.anns.values()} == set(coco.cats)
    assert max(coco.cats) > len(coco.cats)


def test_some_pictures_are_empty_and_most_are_not(coco):
    empty = [image for image in coco.imgs if not coco.getAnnIds(image)]
    assert 1 <= len(empty) <= 4


def test_crowds_are_compressed_runs_of_many_parts(coco):
    crowds = [a for a in coco.anns.values() if a["iscrowd"]]
    assert crowds
    for crowd in crowds:
        assert isinstance(crowd["segmentation"]["counts"], str)
        mask = decoded(coco, crowd)
        assert crowd["area"] == mask.sum()
        assert cv2.connectedComponents(mask)[0] > 3


def test_all_sizes_occur(objects):
    areas = np.array([annotation["area"] for annotation, _ in objects])
    counts, _ = np.histogram(areas, [40, 32**2, 96**2, np.inf])
    assert counts.sum() == len(areas)  # none is smaller than 40 pixels
    assert all(counts >= len(areas) // 20)


def test_some_objects_have_holes(objects):
    holed = 0
    for annotation, mask in objects:
        _, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        if (tree[0, :, 3] >= 0).any():
            assert isinstance(annotation["segmentation"], dict)
            holed += 1
    assert holed > 3


def test_some_objects_are_cut_in_parts(objects):
    parts = [a["segmentation"] for a, _ in objects if isinstance(a["segmentation"], list)]
    assert sum(len(polygons) > 1 for polygons in parts) > 3


def test_objects_hide_each_other_but_masks_never_share_a_pixel(coco, objects):
    meetings = 0
    for image in coco.imgs:
        here = [pair for pair in objects if pair[0]["image_id"] == image]
        # Polygons are read back to within a fraction of a pixel, so a rim may be shared.
        for (one, mask), (other, mask_2) in combinations(here, 2):
            meetings += boxes_meet(one, other)
            exact = isinstance(one["segmentation"], dict) and isinstance(
                other["segmentation"], dict
            )
            shared = (mask & mask_2).sum()
            assert shared == 0 if exact else shared <= 0.05 * min(one["area"], other["area"])
    assert meetings > 10


def test_masks_agree_with_area_and_box(objects):
    for annotation, mask in objects:
        x, y, width, height = cv2.boundingRect(mask)
        exact = isinstance(annotation["segmentation"], dict)
        assert mask.sum() == pytest.approx(annotation["area"], rel=0 if exact else 0.03)
        assert [x, y, width, height] == pytest.approx(annotation["bbox"], abs=0 if exact else 1)


def test_most_objects_without_holes_are_polygons(objects):
    assert sum(isinstance(a["segmentation"], list) for a, _ in objects) > 0.5 * len(objects)


def test_annotations_stay_inside_the_picture(coco):
    for annotation in coco.anns.values():
        x, y, width, height = annotation["bbox"]
        assert min(x, y) >= 0
        assert x + width <= SIZE[1]
        assert y + height <= SIZE[0]
        assert decoded(coco, annotation).any()


def test_labels_are_where_the_objects_are(folder, coco):
    """The yellow stars are yellow inside their masks: masks and pixels share one frame."""
    star = coco.getCatIds(catNms=["star"])
    for annotation in coco.loadAnns(coco.getAnnIds(catIds=star, iscrowd=False)):
        name = coco.imgs[annotation["image_id"]]["file_name"]
        hue, saturation, _ = cv2.split(
            cv2.cvtColor(cv2.imread(str(folder / "images" / name)), cv2.COLOR_BGR2HSV)
        )
        inside = decoded(coco, annotation).astype(bool)
        yellow = (hue > 15) & (hue < 35) & (saturation > 90)
        assert yellow[inside].mean() > 0.75


def test_small_pictures_work(tmp_path):
    generate_dataset(tmp_path, num_train=6, num_val=1, image_size=(64, 64), max_objects=1)
    small = COCO(tmp_path / "annotations" / "instances_train.json")
    assert max(len(small.getAnnIds(image)) for image in small.imgs) == 1


def test_refuses_what_is_not_an_empty_folder(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    for out in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(UsageError, match="already exists"):
            generate_dataset(out, num_train=1, num_val=1)
    assert list(contents(tmp_path)) == ["mine.txt"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_train": 0},
        {"num_val": -1},
        {"max_objects": 0},
        {"image_size": (63, 320)},
        {"image_size": (240, 10)},
        {"seed": -1},
    ],
)
def test_refuses_nonsense_numbers(tmp_path, wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        generate_dataset(tmp_path / "out", **wrong)
    assert not (tmp_path / "out").exists()
