import pytest

from yolact.data.formats.read import list_splits, load_split, read_split
from yolact.errors import DataError

SQUARE = [1, 1, 3, 1, 3, 3, 1, 3]
DRAWN = ".... .##. .##. ...."


def document(file_name="a.png", **more):
    return {
        "images": [{"id": 5, "file_name": file_name, "height": 4, "width": 4}],
        "annotations": [{"id": 8, "image_id": 5, "category_id": 1, "segmentation": [SQUARE]}],
        "categories": [{"id": 1, "name": "cat"}],
    } | more


# --- Which format ---------------------------------------------------------------------------------


def test_nothing_there(tmp_path):
    with pytest.raises(DataError, match=r"there is no data folder .*gone"):
        list_splits(tmp_path / "gone")
    with pytest.raises(DataError, match="holds no labels of a known format: COCO, YOLO, LabelMe"):
        list_splits(tmp_path)


def test_two_formats_in_one_folder(lay_out, seen):
    data = lay_out(
        {
            "annotations/instances_train.json": document(),
            "images/a.png": (4, 4),
            "data.yaml": "names: [cat]\ntrain: images\n",
        }
    )
    with pytest.raises(DataError, match="several formats, COCO and YOLO: move all but one"):
        list_splits(data)
    assert seen(data / "data.yaml", "train") == {"a.png": []}  # named by its file


def test_what_is_not_divided_can_be_measured_on_but_not_trained_on(lay_out, seen):
    data = lay_out({"labels.json": document(), "a.png": (4, 4)})
    file = data / "labels.json"
    assert list_splits(file) == ("all",)
    for split in ("all", "val", "valid"):
        assert seen(file, split) == {"a.png": [("cat", DRAWN)]}
    with pytest.raises(DataError, match="is not divided, so it has no split train: 'yolact data"):
        load_split(file, "train")


def test_a_split_that_is_not_there(lay_out):
    data = lay_out(
        {
            "annotations/instances_train.json": document(),
            "annotations/instances_minival.json": document(),
            "annotations/image_info_test-dev2017.json": {},
            "images/a.png": (4, 4),
        }
    )
    assert list_splits(data) == ("train", "minival")
    with pytest.raises(DataError, match="has no split val; it has train, minival"):
        read_split(data, "val")


@pytest.mark.parametrize(
    ("name", "asked"),
    [("val2017", "val"), ("val2017", "val2017"), ("valid", "val"), ("validation", "valid")],
)
def test_names_of_splits(lay_out, seen, name, asked):
    data = lay_out({f"annotations/instances_{name}.json": document(), "images/a.png": (4, 4)})
    assert list_splits(data) == ("val",)
    assert seen(data, asked) == {"a.png": [("cat", DRAWN)]}


# --- COCO's relatives -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "picture"),
    [
        ("x.json", "a.png"),
        ("x.json", "images/a.png"),
        ("annotations/instances_val2017.json", "val2017/a.png"),
        ("annotations/instances_val2017.json", "images/a.png"),
        ("annotations/x.json", "a.png"),
    ],
)
def test_one_file_with_its_pictures_somewhere_near(lay_out, seen, file, picture):
    data = lay_out({file: document(), picture: (4, 4)})
    assert seen(data / file) == {"a.png": [("cat", DRAWN)]}


def test_roboflow(lay_out, seen):
    """Its first category is what the others have in common, and no class."""
    categories = [
        {"id": 0, "name": "pets", "supercategory": "none"},
        {"id": 1, "name": "cat", "supercategory": "pets"},
        {"id": 2, "name": "dog", "supercategory": "pets"},
    ]
    exported = document(categories=categories)
    data = lay_out(
        {
            f"{split}/{name}": content
            for split in ("train", "valid", "test")
            for name, content in (("_annotations.coco.json", exported), ("a.png", (4, 4)))
        }
    )
    assert list_splits(data) == ("train", "val", "test")
    assert seen(data, "val") == {"a.png": [("cat", DRAWN)]}
    assert load_split(data, "train").class_names == ("cat", "dog")
    assert load_split(data / "valid", "val").class_names == ("cat", "dog")
    file = data / "valid" / "_annotations.coco.json"
    assert load_split(file, "val").class_names == ("cat", "dog")


@pytest.mark.parametrize("change", [{"category_id": 0}, {"category_id": 1}])
def test_a_category_with_objects_is_kept(lay_out, change):
    categories = [
        {"id": 0, "name": "pets", "supercategory": "none"},
        {"id": 1, "name": "cat", "supercategory": "pets" if change["category_id"] == 0 else "x"},
    ]
    annotation = {"id": 1, "image_id": 5, "segmentation": [SQUARE]} | change
    exported = document(categories=categories, annotations=[annotation])
    data = lay_out({"_annotations.coco.json": exported, "a.png": (4, 4)})
    assert load_split(data, "val").class_names == ("pets", "cat")


@pytest.mark.parametrize(
    "file_name",
    [
        "a b.png",
        "images/a b.png",
        "images\\3\\a b.png",
        "../../label-studio/data/media/upload/1/a%20b.png",
        "/data/upload/1/a%20b.png",
        "/data/local-files/?d=x/a%20b.png",
    ],
)
def test_label_studio(lay_out, seen, file_name):
    data = lay_out({"result.json": document(file_name), "images/a b.png": (4, 4)})
    assert seen(data) == {"a b.png": [("cat", DRAWN)]}


def test_label_studio_without_its_picture(lay_out):
    data = lay_out({"result.json": document("../x.png"), "images/a.png": (4, 4)})
    with pytest.raises(DataError, match=r"images\[0\]: there is no picture .*x\.png"):
        load_split(data, "val")


def test_broken_exports_are_refused_by_the_check_and_not_before(lay_out):
    data = lay_out({"result.json": {"images": 7}, "images/a.png": (4, 4)})
    with pytest.raises(DataError, match="has no list called images"):
        load_split(data, "val")
    (data / "result.json").write_text("[]")
    with pytest.raises(DataError, match="holds a list"):
        load_split(data, "val")
