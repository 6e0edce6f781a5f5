import copy
import json
import math
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from yolact.data.coco import decode_mask, keep_classes, load_coco, size_of
from yolact.data.formats.coco import find_split
from yolact.errors import DataError
from yolact.evaluation.coco import CocoEvaluator

HEIGHT, WIDTH = 6, 8


def polygon(x1, y1, x2, y2):
    """A rectangle; COCO's rasteriser fills exactly its pixels."""
    return [x1, y1, x2, y1, x2, y2, x1, y2]


def valid():
    """Two pictures, three classes with gaps in their ids, every form of segmentation."""
    return {
        "info": {"year": "2024", "contributor": "roboflow.com"},
        "licenses": [{"id": 1, "url": "https://creativecommons.org", "name": "CC BY 4.0"}],
        "categories": [
            {"id": 7, "name": "cat", "supercategory": "animals"},
            {"id": 2, "name": "ant", "supercategory": "animals"},
            {"id": 90, "name": "cow", "supercategory": "animals"},
        ],
        "images": [
            {
                "id": 30,
                "file_name": "a.png",
                "height": HEIGHT,
                "width": WIDTH,
                "license": 1,
                "date_captured": "2024-02-03T04:05:06+00:00",
                "extra": {"name": "original.png"},
            },
            {"id": 4, "file_name": "b.png", "height": 3, "width": 3},
            {"id": 5, "file_name": "sub/c.png", "height": 3, "width": 3},
        ],
        "annotations": [
            {
                "id": 900,
                "image_id": 30,
                "category_id": 90,
                "bbox": [1, 2, 3, 2],
                "area": 6,
                "iscrowd": 0,
                "segmentation": [polygon(1, 2, 4, 4)],
                "attributes": {"occluded": False},
            },
            {
                "id": 1,
                "image_id": 4,
                "category_id": 2,
                "bbox": [0, 0, 3, 3],
                "area": 8.0,
                "iscrowd": 0,
                "segmentation": {"size": [3, 3], "counts": "0410"},
            },
            {
                "id": 2,
                "image_id": 30,
                "category_id": 7,
                "bbox": [0, 0, 8, 6],
                "area": 2,
                "iscrowd": 1,
                "segmentation": {"size": [6, 8], "counts": [0, 1, 46, 1]},
            },
        ],
    }


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "images"
    (folder / "sub").mkdir(parents=True)
    Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "a.png")
    Image.new("L", (3, 3)).save(folder / "b.png")
    Image.new("L", (3, 3)).save(folder / "sub" / "c.png")
    (folder / "text.png").write_text("no picture")
    data = Image.Exif()
    data[0x0112] = 6
    Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "turned.jpg", exif=data)
    return folder


@pytest.fixture
def load(images, tmp_path):
    def load(document):
        path = tmp_path / "instances_train.json"
        text = document if isinstance(document, str) else json.dumps(document)
        path.write_text(text, encoding="utf-8")
        return load_coco(images, path)

    return load


def drawn(crop, height, width):
    """The whole mask as text, a row a line."""
    mask = np.zeros((height, width), dtype=int)
    rows, columns = crop.bitmap.shape
    mask[crop.y : crop.y + rows, crop.x : crop.x + columns] = crop.bitmap
    return ["".join(".#"[value] for value in row) for row in mask]


# --- What is read ---------------------------------------------------------------------------------


def test_labels_follow_ascending_category_ids(load):
    instances = load(valid())
    assert instances.category_ids == (2, 7, 90)
    assert instances.class_names == ("ant", "cat", "cow")


def test_records_keep_the_order_of_the_file(load, images):
    first, second, third = load(valid()).records
    assert (first.image_id, first.height, first.width) == (30, 6, 8)
    assert first.path == images / "a.png"
    assert third.path == images / "sub" / "c.png"
    assert [a.label for a in first.annotations] == [2, 1]
    assert [a.is_crowd for a in first.annotations] == [False, True]
    assert [a.label for a in second.annotations] == [0]
    assert third.annotations == ()


def test_the_document_is_kept_for_the_evaluator(load, tmp_path):
    instances = load(valid())
    assert instances.source == tmp_path / "instances_train.json"
    assert instances.ground_truth == valid()


def test_boxes_are_corners(load):
    (first, crowd), (ring,), () = (record.annotations for record in load(valid()).records)
    assert first.box == (1.0, 2.0, 4.0, 4.0)
    assert crowd.box == (0.0, 0.0, 8.0, 6.0)
    assert ring.box == (0.0, 0.0, 3.0, 3.0)


@pytest.mark.parametrize("missing", [None, []])
def test_missing_boxes_and_areas_follow_from_the_mask(load, missing):
    document = valid()
    for annotation in document["annotations"]:
        del annotation["area"]
        annotation["bbox"] = missing
    del document["annotations"][0]["bbox"]
    (first, crowd), (ring,), () = (record.annotations for record in load(document).records)
    assert first.box == (1.0, 2.0, 4.0, 4.0)
    assert crowd.box == (0.0, 0.0, 8.0, 6.0)
    assert ring.box == (0.0, 0.0, 3.0, 3.0)


@pytest.mark.parametrize(
    ("bbox", "box"),
    [
        ([-2, -1.5, 4, 3], (0.0, 0.0, 2.0, 1.5)),
        ([7.5, 5, 100, 100], (7.5, 5.0, 8.0, 6.0)),
        ([3, 3, 0, 0], (3.0, 3.0, 3.0, 3.0)),
    ],
)
def test_boxes_are_clipped_to_the_picture(load, bbox, box):
    document = valid()
    document["annotations"][0]["bbox"] = bbox
    assert load(document).records[0].annotations[0].box == box


@pytest.mark.parametrize(("iscrowd", "expected"), [(None, False), (False, False), (True, True)])
def test_other_ways_to_write_iscrowd(load, iscrowd, expected):
    document = valid()
    document["annotations"][0]["iscrowd"] = iscrowd
    assert load(document).records[0].annotations[0].is_crowd is expected


def test_no_annotations_at_all(load):
    assert [r.annotations for r in load(valid() | {"annotations": []}).records] == [(), (), ()]


def test_no_images_at_all(load):
    assert load(valid() | {"images": [], "annotations": []}).records == ()


def test_byte_order_mark_is_no_obstacle(load):
    """Some editors on Windows write one."""
    assert len(load("\ufeff" + json.dumps(valid())).records) == 3


def test_size_of_an_upright_picture_with_exif(load):
    document = valid()
    document["images"][2] |= {"file_name": "turned.jpg", "height": WIDTH, "width": HEIGHT}
    assert load(document).records[2].height == WIDTH


# --- Masks ----------------------------------------------------------------------------------------


def test_polygon():
    assert drawn(decode_mask([polygon(1, 2, 4, 4)], 6, 8), 6, 8) == [
        "........",
        "........",
        ".###....",
        ".###....",
        "........",
        "........",
    ]


def test_polygons_are_parts_of_one_object():
    parts = [polygon(0, 0, 2, 1), polygon(5, 3, 8, 6), polygon(6, 4, 7, 5)]  # the last inside
    assert drawn(decode_mask(parts, 6, 8), 6, 8) == [
        "##......",
        "........",
        "........",
        ".....###",
        ".....###",
        ".....###",
    ]


def test_polygon_over_the_edge():
    assert drawn(decode_mask([polygon(-3, -2, 2, 2)], 4, 4), 4, 4) == [
        "##..",
        "##..",
        "....",
        "....",
    ]


@pytest.mark.parametrize("counts", [[0, 4, 1, 4], "0410", b"0410"])
def test_rle_with_a_hole(counts):
    assert drawn(decode_mask({"size": [3, 3], "counts": counts}, 3, 3), 3, 3) == [
        "###",
        "#.#",
        "###",
    ]


@pytest.mark.parametrize("counts", [[1, 2, 3], "123"])
def test_rle_runs_down_the_columns(counts):
    assert drawn(decode_mask({"size": [2, 3], "counts": counts}, 2, 3), 2, 3) == [".#.", "#.."]


@pytest.mark.parametrize("counts", [[1, 0, 0, 2, 0, 1, 5], "10020O5"])
def test_rle_with_empty_runs(counts):
    """Several runs begin at one pixel."""
    assert drawn(decode_mask({"size": [3, 3], "counts": counts}, 3, 3), 3, 3) == [
        ".#.",
        "#..",
        "#..",
    ]


def test_empty_masks():
    assert not decode_mask({"size": [3, 3], "counts": [9]}, 3, 3).bitmap.any()
    assert not decode_mask({"size": [3, 3], "counts": "9"}, 3, 3).bitmap.any()
    assert not decode_mask([[1, 1, 1, 1, 1, 1]], 3, 3).bitmap.any()


# --- Where the files are --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotations", "pictures", "expected"),
    [
        ("instances_val.json", ["images"], "images"),
        ("instances_val.json", ["images", "val"], "val"),
        ("instances_val.json", ["images/val"], "images/val"),
        ("instances_val2017.json", ["val2017"], "val2017"),
        ("instances_val2017.json", ["train2017", "images/val2017"], "images/val2017"),
        ("instances_val2017.json", ["images/val"], "images/val"),
        ("instances_val2014.json", ["images"], "images"),
    ],
)
def test_find_split(tmp_path, annotations, pictures, expected):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / annotations).touch()
    (tmp_path / "annotations" / "instances_train2017.json").touch()
    for folder in pictures:
        (tmp_path / folder).mkdir(parents=True)
    assert find_split(tmp_path, "val") == (
        tmp_path / expected,
        tmp_path / "annotations" / annotations,
    )


@pytest.mark.parametrize(
    ("split", "annotations", "pictures"),
    [
        ("val", "instances_val2017", "val2017"),
        ("val2017", "instances_val2017", "val2017"),
        ("train", "instances_train2017", "train2017"),
        ("test-dev", "image_info_test-dev2017", "test2017"),
        ("test-dev2017", "image_info_test-dev2017", "test2017"),
        ("test", "image_info_test2017", "test2017"),
    ],
)
def test_coco_as_unpacked(tmp_path, split, annotations, pictures):
    (tmp_path / "annotations").mkdir()
    for name in ("captions_val", "instances_train", "instances_val", "person_keypoints_val"):
        (tmp_path / "annotations" / f"{name}2017.json").touch()
    for name in ("image_info_test-dev2017", "image_info_test2017"):
        (tmp_path / "annotations" / f"{name}.json").touch()
    for name in ("train2017", "val2017", "test2017"):
        (tmp_path / name).mkdir()
    found = tmp_path / pictures, tmp_path / "annotations" / f"{annotations}.json"
    assert find_split(tmp_path, split) == found


def test_a_test_set_has_pictures_and_classes_but_no_labels(images, tmp_path):
    path = tmp_path / "image_info_test2017.json"
    path.write_text(json.dumps({k: v for k, v in valid().items() if k != "annotations"}))
    instances = load_coco(images, path, needs_labels=False)
    assert not instances.has_labels
    assert [len(record.annotations) for record in instances.records] == [0, 0, 0]
    assert instances.class_names == ("ant", "cat", "cow")
    with pytest.raises(DataError, match="it has no list called annotations"):
        load_coco(images, path)
    path.write_text(json.dumps(valid()))
    assert load_coco(images, path, needs_labels=False).has_labels


def test_keeping_some_classes(load):
    everything = load(valid())
    kept = keep_classes(everything, {"cow", "ant", "bee"})
    assert (kept.class_names, kept.category_ids) == (("ant", "cow"), (2, 90))
    assert [[a.label for a in r.annotations] for r in kept.records] == [[1], [0], []]
    assert [a["id"] for a in kept.ground_truth["annotations"]] == [900, 1]
    assert [c["id"] for c in kept.ground_truth["categories"]] == [2, 90]
    assert len(everything.ground_truth["annotations"]) == 3
    with pytest.raises(DataError, match="has no class bee or wasp"):
        keep_classes(everything, {"wasp", "bee"})


def test_a_file_without_a_year_comes_first(tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "images").mkdir()
    for name in ("instances_val.json", "instances_val2014.json"):
        (tmp_path / "annotations" / name).touch()
    assert find_split(tmp_path, "val")[1].name == "instances_val.json"


def test_year_suffixed_split_loads(images, tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_val2017.json").write_text(json.dumps(valid()))
    (tmp_path / "val2017").symlink_to(images)
    assert len(load_coco(*find_split(tmp_path, "val")).records) == 3


def test_find_split_says_what_is_missing(tmp_path):
    with pytest.raises(DataError, match=r"there is no data folder .*gone"):
        find_split(tmp_path / "gone", "val")
    with pytest.raises(DataError, match=r"has no annotations/instances_val\.json"):
        find_split(tmp_path, "val")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_val2017.json").touch()
    with pytest.raises(DataError, match="neither a folder val2017 nor one called images"):
        find_split(tmp_path, "val")


def test_missing_annotation_file(images, tmp_path):
    with pytest.raises(DataError, match=r"there is no annotation file .*gone\.json"):
        load_coco(images, tmp_path / "gone.json")
    with pytest.raises(DataError, match=r"cannot be read: Is a directory"):
        load_coco(images, tmp_path)


# --- Lies -----------------------------------------------------------------------------------------

FILE = r"instances_train\.json"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"{FILE} is not readable JSON: Expecting value"),
        ('{"images": [', f"{FILE} is not readable JSON"),
        ("[" * 100_000, f"{FILE} is not readable JSON"),
        ("[]", f"{FILE} is no COCO instances file: it holds a list"),
        ("null", f"{FILE} is no COCO instances file: it holds a NoneType"),
        ("{}", f"{FILE} is no COCO instances file: it has no list called images"),
    ],
)
def test_files_that_are_no_coco(load, text, message):
    with pytest.raises(DataError, match=message):
        load(text)


def test_bytes_that_are_no_text(images, tmp_path):
    (tmp_path / "bad.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(DataError, match=r"bad\.json is not readable JSON: 'utf-8'"):
        load_coco(images, tmp_path / "bad.json")


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
@pytest.mark.parametrize("value", [None, {}, 3, "abc"])
def test_lists_must_be_lists(load, key, value):
    with pytest.raises(DataError, match=f"{FILE} is no COCO .* it has no list called {key}"):
        load(valid() | {key: value})


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
def test_entries_must_be_objects(load, key):
    document = valid()
    document[key].insert(1, ["x"])
    with pytest.raises(DataError, match=rf"{FILE}: {key}\[1\] is not an object but \['x'\]"):
        load(document)


def test_no_categories(load):
    with pytest.raises(DataError, match=f"{FILE} names no categories"):
        load(valid() | {"categories": [], "annotations": []})


CATEGORY = rf"{FILE}: categories\[1\]"
IMAGE = rf"{FILE}: images\[0\]"
PICTURE = rf"{IMAGE}.*"
OBJECT = rf"{FILE}: annotations\[1\] \(id 1\)"


@pytest.mark.parametrize(
    ("key", "index", "change", "message"),
    [
        ("categories", 1, {"id": 7}, f"{CATEGORY} repeats the id 7"),
        ("categories", 1, {"id": True}, f"{CATEGORY} has the id True, not a whole number"),
        ("categories", 1, {"id": None}, f"{CATEGORY} has no id"),
        ("categories", 1, {"name": 5}, f"{CATEGORY} has the name 5, not a text"),
        ("images", 0, {"id": 4}, rf"{FILE}: images\[1\] repeats the id 4"),
        ("images", 0, {"id": False}, f"{IMAGE} has the id False, not a whole number"),
        ("images", 0, {"id": "30"}, f"{IMAGE} has the id '30', not a whole number"),
        ("images", 0, {"id": 10**30}, f"{IMAGE} has the id 10+, not a whole number"),
        ("images", 0, {"file_name": None}, f"{IMAGE} has no file_name"),
        ("images", 0, {"file_name": ["a.png"]}, rf"{IMAGE} has the file_name \['a.png'\], not a"),
        ("images", 0, {"file_name": "z.png"}, rf"{IMAGE}: there is no picture .*z\.png"),
        ("images", 0, {"file_name": "text.png"}, rf"{IMAGE}: .*text\.png cannot be read as a pict"),
        ("images", 0, {"file_name": "a\0.png"}, rf"{IMAGE}: .* cannot be read as a picture"),
        ("images", 0, {"file_name": ""}, rf"{IMAGE}: .* cannot be read as a picture"),
        ("images", 0, {"height": 0}, f"{IMAGE} is said to be 8x0, which no picture is"),
        ("images", 0, {"width": -8}, f"{IMAGE} is said to be -8x6, which no picture is"),
        ("images", 0, {"width": 8.5}, f"{IMAGE} has the width 8.5, not a whole number"),
        ("images", 0, {"width": 9}, rf"{IMAGE} is said to be 9x6, but .*a\.png is 8x6\.$"),
        ("images", 0, {"width": 6, "height": 8}, rf"{IMAGE} is said to be 6x8, but .* is 8x6\.$"),
        (
            "images",
            0,
            {"file_name": "turned.jpg"},
            rf"{IMAGE} is said to be 8x6, but .* is 6x8\..*EXIF",
        ),
        ("annotations", 1, {"image_id": 31}, f"{OBJECT} belongs to image 31, which is not in the"),
        ("annotations", 1, {"image_id": True}, f"{OBJECT} has the image_id True, not a whole num"),
        ("annotations", 1, {"image_id": None}, f"{OBJECT} has no image_id"),
        (
            "annotations",
            1,
            {"category_id": 3},
            f"{OBJECT} has category 3, which is not in the file",
        ),
        ("annotations", 1, {"category_id": []}, rf"{OBJECT} has the category_id \[\], not a whole"),
        ("annotations", 1, {"area": "big"}, f"{OBJECT} has the area 'big', not a number of pixels"),
        ("annotations", 1, {"area": -1}, f"{OBJECT} has the area -1, not a number of pixels"),
        ("annotations", 1, {"area": math.nan}, f"{OBJECT} has the area nan, not a number"),
        ("annotations", 1, {"iscrowd": 2}, f"{OBJECT} has the iscrowd 2, not 0 or 1"),
        ("annotations", 1, {"iscrowd": "no"}, f"{OBJECT} has the iscrowd 'no', not 0 or 1"),
    ],
)
def test_lies_about_entries(load, key, index, change, message):
    document = valid()
    document[key][index] |= change
    with pytest.raises(DataError, match=message):
        load(document)


@pytest.mark.parametrize(
    ("bbox", "message"),
    [
        ([0, 0, 3], "four finite numbers"),
        ([0, 0, 3, 3, 3], "four finite numbers"),
        ([0, 0, math.nan, 3], "four finite numbers"),
        ([0, 0, math.inf, 3], "four finite numbers"),
        ([0, 0, 10**400, 3], "four finite numbers"),
        ([0, 0, "3", 3], "four finite numbers"),
        ([0, 0, True, 3], "four finite numbers"),
        ([0, 0, None, 3], "four finite numbers"),
        ("0033", "four finite numbers"),
        ({"x": 0, "y": 0, "w": 3, "h": 3}, "four finite numbers"),
        (3, "four finite numbers"),
        ([2, 0, -1, 3], "whose width or height is negative"),
        ([0, 2, 1, -3], "whose width or height is negative"),
        ([4, 0, 1, 1], "outside its picture of 3x3 pixels"),
        ([0, -2, 1, 1], "outside its picture of 3x3 pixels"),
    ],
)
def test_lies_about_boxes(load, bbox, message):
    document = valid()
    document["annotations"][1]["bbox"] = bbox
    with pytest.raises(DataError, match=f"{OBJECT} has the bbox .*{message}"):
        load(document)


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([], "there is no polygon"),
        ([[]], "a polygon has 0 numbers"),
        ([[0, 0, 1, 0, 1]], "a polygon has 5 numbers"),
        ([[0, 0, 1, 0, 1, 1, 0]], "a polygon has 7 numbers"),
        ([[0, 0, 2, 2]], "a polygon has 4 numbers"),
        ([polygon(0, 0, 2, 2), [1, 1]], "a polygon has 2 numbers"),
        ([0, 0, 1, 0, 1, 1], "a polygon is a list of x, y"),
        ([[[0, 0], [1, 0], [1, 1]]], "a coordinate that is not a number"),
        ([[0, 0, 1, 0, 1, "1"]], "a coordinate that is not a number"),
        ([[0, 0, 1, 0, 1, None]], "a coordinate that is not a number"),
        ([[0, 0, 1, 0, 1, True]], "a coordinate that is not a number"),
        ([[0, 0, 1, 0, 1, math.nan]], "not finite"),
        ([[0, 0, 1, 0, 1, -math.inf]], "not finite"),
        ([[0, 0, 1, 0, 1, 1e9]], "far outside the picture"),
        ([[0, 0, 1, 0, 1, 10**400]], "far outside the picture"),
        ([[0, 0, -4, 0, 1, 1]], "far outside the picture"),
        ("polygon", "a list of polygons or an RLE with size and counts"),
        ({}, "a list of polygons or an RLE with size and counts"),
        ({"size": [3, 3]}, "a list of polygons or an RLE with size and counts"),
        ({"size": [3, 3], "count": [9]}, "a list of polygons or an RLE with size and counts"),
        ({"size": [3, 4], "counts": [12]}, r"the RLE is \[3, 4\], the picture \[3, 3\]"),
        ({"size": 9, "counts": [9]}, r"the RLE is 9, the picture \[3, 3\]"),
        ({"size": [3, 3], "counts": [3, 3]}, "counts of the RLE do not add up to the picture"),
        ({"size": [3, 3], "counts": [12, -3]}, "counts of the RLE do not add up to the picture"),
        ({"size": [3, 3], "counts": []}, "counts of the RLE do not add up to the picture"),
        ({"size": [3, 3], "counts": [4.5, 4.5]}, "counts of an RLE are whole numbers"),
        ({"size": [3, 3], "counts": ["9"]}, "counts of an RLE are whole numbers"),
        ({"size": [3, 3], "counts": 9}, "counts of an RLE are a text or a list"),
        ({"size": [3, 3], "counts": None}, "counts of an RLE are a text or a list"),
        ({"size": [3, 3], "counts": ""}, "counts of the RLE do not add up to the picture"),
        ({"size": [3, 3], "counts": "33"}, "counts of the RLE do not add up to the picture"),
        ({"size": [3, 3], "counts": "0430"}, "RLE counts exceed the mask dimensions"),
        ({"size": [3, 3], "counts": "041o"}, "RLE string is malformed"),
        ({"size": [3, 3], "counts": "é€"}, "RLE string is malformed"),
        ({"size": [3, 3], "counts": "o" * 50}, "RLE string is malformed"),
    ],
)
def test_lies_about_segmentations(load, segmentation, message):
    document = valid()
    document["annotations"][1]["segmentation"] = segmentation
    with pytest.raises(
        DataError, match=f"{OBJECT} has a segmentation that cannot be read: .*{message}"
    ):
        load(document)


@pytest.mark.parametrize("value", [None, ...])
def test_objects_without_a_segmentation(load, value):
    document = valid()
    document["annotations"][1]["segmentation"] = value
    if value is ...:
        del document["annotations"][1]["segmentation"]
    with pytest.raises(DataError, match=f"{OBJECT} has no segmentation"):
        load(document)


def test_messages_stay_short(load):
    document = valid()
    document["annotations"][1] |= {"id": "x" * 10_000, "bbox": ["y" * 10_000]}
    with pytest.raises(DataError) as caught:
        load(document)
    assert len(str(caught.value)) < 500


# --- Anything at all ------------------------------------------------------------------------------

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 100)
    | st.integers()
    | st.sampled_from([0, 1, -1, 2**31, 2**63, 10**30, 10**400])
    | st.floats()
    | st.sampled_from(["", "a.png", "0410", "b\0", "\ud800", "..", "é€"])
    | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["size", "counts", "id", "name"]) | st.text(max_size=3),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


def places(node, path=()):
    """Every place of a JSON document as a path of keys."""
    if path:
        yield path
    if isinstance(node, dict | list):
        for key in node if isinstance(node, dict) else range(len(node)):
            yield from places(node[key], (*path, key))


PLACES = list(places(valid()))


@st.composite
def damaged_documents(draw):
    document = valid()
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from(PLACES))
        parent = document
        try:
            for key in path[:-1]:
                parent = parent[key]
            if draw(st.integers(0, 5)) == 0:
                del parent[path[-1]]
            elif draw(st.integers(0, 5)) == 0 and isinstance(parent, list):
                parent.append(copy.deepcopy(parent[path[-1]]))
            else:
                parent[path[-1]] = draw(JSON)
        except (LookupError, TypeError):
            pass  # the first change removed the place of the second
    return document


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(document=damaged_documents())
def test_any_document_loads_or_is_refused(load, document):
    """What loads must also be good for the evaluator and for drawing every mask."""
    try:
        instances = load(json.dumps(document))
    except DataError as error:
        assert "instances_train.json" in str(error)  # noqa: PT017
        return
    CocoEvaluator(instances.ground_truth)
    for record in instances.records:
        for annotation in record.annotations:
            decode_mask(annotation.segmentation, record.height, record.width)
            x1, y1, x2, y2 = annotation.box
            assert 0 <= x1 <= x2 <= record.width
            assert 0 <= y1 <= y2 <= record.height


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=12)
    | st.lists(st.sampled_from(b"0123oPQ`NMz"), max_size=12).map(bytes)
    | st.text(max_size=8)
)
def test_any_counts_decode_or_are_refused(counts):
    try:
        crop = decode_mask({"size": [5, 4], "counts": counts}, 5, 4)
    except ValueError:
        return
    assert crop.x + crop.bitmap.shape[1] <= 4
    assert crop.y + crop.bitmap.shape[0] <= 5


# --- Real data ------------------------------------------------------------------------------------


def test_twenty_three_thousand_objects_load_in_about_a_second(real_data):
    start = time.process_time()
    instances = load_coco(*find_split(real_data / "nuclei", "train"))
    assert time.process_time() - start < 4  # 0.8 s on an idle core
    assert len(instances.records) == 531
    assert sum(len(record.annotations) for record in instances.records) == 23025


@pytest.mark.parametrize(
    ("name", "split", "num_classes"),
    [("coco_cc", "val", 80), ("photos", "val", 80), ("breadboard", "val", None)],
)
def test_real_data_loads(real_data, name, split, num_classes):
    instances = load_coco(*find_split(real_data / name, split))
    assert instances.records
    if num_classes is not None:
        assert len(instances.class_names) == num_classes


@pytest.mark.parametrize(
    ("area", "size"),
    [(0, "small"), (1023.5, "small"), (1024, "medium"), (9216, "medium"), (9216.5, "large")],
)
def test_what_lies_on_a_border_of_sizes_is_medium(area, size):
    assert size_of(area) == size
