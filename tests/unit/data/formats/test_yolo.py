import numpy as np
import pytest
from PIL import Image

from yolact.data.formats.read import list_splits, load_split, read_split
from yolact.errors import DataError

SQUARE = "0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75"
DRAWN = ".... .##. .##. ...."


def layout(yaml, picture="images/val/a.png", labels="labels/val/a.txt", line=f"1 {SQUARE}\n"):
    return {"data.yaml": yaml, picture: (4, 4), labels: line}


@pytest.mark.parametrize(
    "names", ["names: [ant, cat]", "names: {0: ant, 1: cat}", "names:\n- ant\n- cat\nnc: 2"]
)
@pytest.mark.parametrize(
    "place",
    [
        "val: images/val",
        "path: .\nval: images/val",
        "path: /nowhere/else\nval: images/val",
        "val: ../images/val",
        "valid: [images/val]",
        "val: /content/set/images/val",
        "validation: val.txt",
    ],
)
def test_data_yaml(lay_out, seen, names, place):
    data = lay_out(layout(f"{names}\n{place}\n") | {"val.txt": "./images/val/a.png\n\n"})
    assert list_splits(data) == ("val",)
    assert seen(data) == {"a.png": [("cat", DRAWN)]}
    assert load_split(data, "val").class_names == ("ant", "cat")


def test_a_yaml_of_another_name_that_says_where_the_pictures_are(lay_out, seen):
    data = lay_out(
        {
            "lists/pets.yaml": "path: ../set\nval: images\nnames: {3: cat}\n",
            "set/images/deep/a.png": (4, 4),
            "set/labels/deep/a.txt": f"3 {SQUARE}",
        }
    )
    assert seen(data / "lists") == {"a.png": [("cat", DRAWN)]}
    assert seen(data / "lists" / "pets.yaml") == {"a.png": [("cat", DRAWN)]}


def test_labels_beside_pictures_and_pictures_without_labels(lay_out, seen):
    data = lay_out(
        layout("names: [cat]\ntrain: x\nval: y\n", "x/a.png", "x/a.txt", f"0.0 {SQUARE}\n\n")
        | {"y/b.png": (4, 4)}
    )
    assert seen(data, "train") == {"a.png": [("cat", DRAWN)]}
    assert seen(data, "val") == {"b.png": []}


def test_label_studio_writes_classes_instead(lay_out, seen):
    data = lay_out(
        {
            "classes.txt": "ant\ncat\n",
            "images/a.png": (4, 4),
            "labels/a.txt": f"1 {SQUARE}",
            "notes.json": {},
        }
    )
    assert list_splits(data) == ("all",)
    assert seen(data) == {"a.png": [("cat", DRAWN)]}


def test_objects_that_touch_stay_two_and_a_hole_can_be_bridged(lay_out, seen):
    ring = "0 0 0 1 0 1 1 0 1 0 0 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75 0.25 0.25"
    halves = "0 0 0 0.5 0 0.5 1 0 1\n0 0.5 0 1 0 1 1 0.5 1\n"
    data = lay_out(
        layout("names: [cat]\nval: images\n", "images/a.png", "labels/a.txt", ring)
        | {"images/b.png": (4, 4), "labels/b.txt": halves}
    )
    assert seen(data) == {
        "a.png": [("cat", "#### #..# #..# ####")],
        "b.png": [("cat", "##.. ##.. ##.. ##.."), ("cat", "..## ..## ..## ..##")],
    }


def test_fractions_are_of_the_upright_picture(lay_out, seen, tmp_path):
    data = lay_out(
        layout("names: [cat]\nval: images\n", "images/b.png", "labels/a.txt", f"0 {SQUARE}")
    )
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4)).save(data / "images" / "a.jpg", exif=exif)
    assert seen(data)["a.jpg"] == [("cat", ".... " * 2 + ".##. " * 4 + ".... ....")]


@pytest.mark.parametrize("place", ["val: images", "val: list.txt"])
def test_ids_and_order_do_not_change(lay_out, place):
    lines = "images/b.png\n./images/a.png\n"
    data = lay_out(
        {"data.yaml": f"names: [cat]\n{place}\n", "list.txt": lines}
        | {f"images/{name}.png": (4, 4) for name in "cba"}
        | {"labels/b.txt": f"0 {SQUARE}\n0 {SQUARE}\n", "labels/a.txt": f"0 {SQUARE}"}
    )
    raw = read_split(data, "val")
    names = ["a", "b", "c"] if "images" in place else ["b", "a"]
    assert [(i["id"], i["file_name"]) for i in raw.document["images"]] == [
        (number, f"images/{name}.png") for number, name in enumerate(names, start=1)
    ]
    assert [a["id"] for a in raw.document["annotations"]] == [1, 2, 3]
    assert raw.document["annotations"][0]["origin"].endswith(
        "labels/a.txt:1" if "images" in place else "labels/b.txt:1"
    )
    assert raw == read_split(data, "val")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.2 0.2", r"labels/val/a\.txt:2: holds a box, not the outline of an object\.$"),
        ("0 0 0 1", r"a\.txt:2: has 3 coordinates, which are not three or more x, y pairs"),
        ("0 0 0 1 0 1 1 0", r"a\.txt:2: has 7 coordinates"),
        ("cat 0 0 1 0 1 1", r"a\.txt:2: holds something that is no number"),
        ("nan 0 0 1 0 1 1", r"a\.txt:2: holds something that is no number"),
        ("0.5 0 0 1 0 1 1", r"a\.txt:2: begins with 0\.5, which is no number of a class"),
        ("2 0 0 1 0 1 1", r"a\.txt:2 has category 2, which is not in the file"),
        ("0 0 0 9 0 9 9", r"a\.txt:2 has a segmentation that cannot be read: .* far outside"),
        ("0 0 0 1 0 1 nan", r"a\.txt:2 has a segmentation .* not finite"),
    ],
)
def test_lines_that_cannot_be(lay_out, line, message):
    data = lay_out(layout("names: [ant, cat]\nval: images/val\n", line=f"\n{line}\n0 {SQUARE}\n"))
    with pytest.raises(DataError, match=message):
        load_split(data, "val")
    assert len(read_split(data, "val").document["annotations"]) in (1, 2)


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("names: [", r"data\.yaml is not readable YAML: while parsing"),
        ("names: cat\nval: images/val", r"data\.yaml: names is no list of class names"),
        ("names: {a: cat}\nval: images/val", r"names is no list of class names"),
        ("names: []\nval: images/val", r"names is no list of class names"),
        ("names: [cat]\nval: elsewhere", r"data\.yaml speaks of .*elsewhere, which is not there"),
        ("nc: 3\nval: images/val", "holds no labels of a known format"),
        ("names: [cat]", "holds no labels of a known format"),
    ],
)
def test_a_yaml_that_cannot_be(lay_out, yaml, message):
    with pytest.raises(DataError, match=message):
        load_split(lay_out(layout(yaml)), "val")


def test_files_that_cannot_be_read(lay_out):
    data = lay_out(
        layout("names: [cat]\nval: [images/val, val.txt]\n", line="")
        | {"val.txt": "gone.png", "images/val/b.png": "text", "labels/val/a.txt": b"\xff\xfe"}
    )
    where = {str(problem).replace(f"{data}/", "") for problem in read_split(data, "val").problems}
    assert {text.split(": ")[0] for text in where} == {
        "images/val/b.png",
        "labels/val/a.txt",
        "gone.png",
    }
    with pytest.raises(DataError, match=r"a\.txt: cannot be read: "):
        load_split(data, "val")


def test_written_as_other_tools_want_it(lay_out, tmp_path):
    """Inside the picture, and the file's own corners where they are inside."""
    from yolact.data.formats.convert import convert

    own = [0.5, 0.5, 3.5, 1.25, 2.0, 3.75]
    beyond = [-1, 1, 5, 1, 5, 3, -1, 3]
    document = {
        "images": [{"id": 1, "file_name": "a.png", "height": 4, "width": 4}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 7, "segmentation": [own]},
            {"id": 2, "image_id": 1, "category_id": 3, "segmentation": [beyond]},
        ],
        "categories": [{"id": 7, "name": "cat"}, {"id": 3, "name": "ant"}],
    }
    data = lay_out({"annotations/instances_train.json": document, "images/a.png": (4, 4)})
    convert(data, tmp_path / "out", "yolo")
    lines = (tmp_path / "out" / "labels" / "train" / "a.txt").read_text().splitlines()
    assert lines[0].split() == ["1", *(f"{value / 4:g}" for value in own)]
    assert np.array(lines[1].split()[1:], dtype=float).tolist() == [
        0,
        0.25,
        1,
        0.25,
        1,
        0.75,
        0,
        0.75,
    ]
    assert "names:\n  0: ant\n  1: cat\n" in (tmp_path / "out" / "data.yaml").read_text()
