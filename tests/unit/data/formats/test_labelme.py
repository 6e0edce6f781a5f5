import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from yolact.data.formats.convert import convert
from yolact.data.formats.read import list_splits, load_split, read_split
from yolact.data.images import read_image
from yolact.errors import DataError, ImageError

SQUARE = [[1, 1], [3, 1], [3, 3], [1, 3]]
DRAWN = ".... .##. .##. ...."


def encoded(array):
    """As LabelMe keeps a picture in its JSON."""
    file = io.BytesIO()
    Image.fromarray(np.array(array, dtype=np.uint8)).save(file, "png")
    return base64.b64encode(file.getvalue()).decode()


def shape(label="cat", points=SQUARE, kind="polygon", group=None, **more):
    return {
        "label": label,
        "points": points,
        "group_id": group,
        "shape_type": kind,
        "flags": {},
    } | more


def labelled(*shapes, picture="a.png", **more):
    return {
        "version": "5.4.1",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": picture,
        "imageData": None,
        "imageHeight": 4,
        "imageWidth": 4,
    } | more


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ([shape()], [("cat", DRAWN)]),
        ([shape(kind="rectangle", points=[[3, 3], [1, 1]])], [("cat", DRAWN)]),
        ([shape(kind="rectangle")], [("cat", DRAWN)]),
        ([shape(kind="circle", points=[[2, 2], [2, 4]])], [("cat", ".##. #### #### .##.")]),
        (
            [
                shape(
                    kind="mask",
                    points=[[1, 0], [3, 2]],
                    mask=encoded([[1, 1, 1], [1, 0, 1], [1, 1, 1]]),
                )
            ],
            [("cat", ".### .#.# .### ....")],
        ),
        (
            [
                shape(points=[[0, 0], [1, 0], [1, 4], [0, 4]], group=3),
                shape("dog", points=[[1, 0], [2, 0], [2, 4], [1, 4]], group=3),
                shape(points=[[2, 0], [4, 0], [4, 1], [2, 1]], group=3),
            ],
            [("cat", "#.## #... #... #..."), ("dog", ".#.. .#.. .#.. .#..")],
        ),
        (
            [
                shape(kind="mask", points=[[0, 0], [0, 0]], mask=encoded([[1]]), group=0),
                shape(points=[[2, 2], [4, 2], [4, 4], [2, 4]], group=0),
            ],
            [("cat", "#... .... ..## ..##")],
        ),
        ([shape(flags={"iscrowd": True})], [("cat*", DRAWN)]),
        ([shape("__ignore__"), shape("_background_"), shape()], [("cat", DRAWN)]),
    ],
)
def test_shapes(lay_out, seen, shapes, expected):
    data = lay_out({"a.json": labelled(*shapes), "a.png": (4, 4)})
    assert seen(data) == {"a.png": expected}


def test_classes_by_name_in_all_splits_and_splits_by_folder(lay_out, seen):
    data = lay_out(
        {
            "train/a.json": labelled(shape("dog")),
            "train/a.png": (4, 4),
            "valid/b.json": labelled(shape("ant"), picture="b.png"),
            "valid/b.png": (4, 4),
            "other/c.txt": "",
        }
    )
    assert list_splits(data) == ("train", "val")
    assert load_split(data, "train").class_names == ("ant", "dog")
    assert load_split(data, "val").class_names == ("ant", "dog")
    (data / "labels.txt").write_text("__ignore__\n_background_\ndog\nbee\nant\n")
    assert load_split(data, "val").class_names == ("dog", "bee", "ant")


def test_json_of_others_is_none_of_ours(lay_out):
    files = {"a.json": {"x": '"shapes"'}, "b.json": {"shape": []}, "c.json": "{", "d.json/e": ""}
    with pytest.raises(DataError, match="no labels of a known format"):
        list_splits(lay_out(files))


@pytest.mark.parametrize("name", ["..\\pictures\\a.png", "/home/x/a.png", "other.png", None, 7])
def test_a_picture_is_found_though_its_path_is_wrong(lay_out, seen, name):
    data = lay_out({"sub/a.json": labelled(shape(), picture=name), "sub/a.png": (4, 4)})
    assert seen(data) == {"a.png": [("cat", DRAWN)]}


def test_a_picture_that_is_only_inside_its_file(lay_out, seen, tmp_path):
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    inside = labelled(shape(), imageData=encoded(pixels), imageHeight=None)
    data = lay_out({"a.json": inside})
    assert seen(data) == {"a.json": [("cat", DRAWN)]}
    assert (read_image(data / "a.json") == pixels).all()
    convert(data, tmp_path / "out", "coco")
    assert (read_image(tmp_path / "out" / "images" / "a.png") == pixels).all()
    (data / "a.json").write_text("{}")
    with pytest.raises(ImageError, match=r"a\.json cannot be read as a picture"):
        read_image(data / "a.json")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (shape(kind="line"), r"b\.json: shapes\[1\]: is a line, which has no area\.$"),
        (shape("emu"), r"b\.json: shapes\[1\]: has the label 'emu', which labels\.txt does not"),
        ("x", r"b\.json: shapes\[1\]: has the label None"),
        (shape(points=[[1]]), r"b\.json: shapes\[1\]: "),
        (shape(points=[[1, 1], [2, 2]]), r"b\.json: shapes\[1\] has a segmentation .* 4 numbers"),
        (
            shape(kind="mask", points=[[0, 0]], mask="eA=="),
            r"b\.json: shapes\[1\]: cannot identify",
        ),
        (
            shape(kind="mask", points=[[3, 3], [4, 4]], mask=encoded([[1, 1], [1, 1]])),
            r"b\.json: shapes\[1\]: the mask does not lie inside the picture",
        ),
    ],
)
def test_shapes_that_cannot_be(lay_out, bad, message):
    data = lay_out(
        {
            "labels.txt": "cat",
            "a.json": labelled(shape()),
            "a.png": (4, 4),
            "b.json": labelled(shape(), bad, picture="b.png"),
            "b.png": (4, 4),
        }
    )
    with pytest.raises(DataError, match=message):
        load_split(data, "val")
    assert len(read_split(data, "val").document["annotations"]) >= 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"b\.json: is not readable JSON"),
        ({"x": 1}, r"b\.json: is no file of LabelMe: it has no list of shapes"),
        (labelled(picture="b.png"), r"b\.json: there is no picture .*b\.png\.$"),
        (labelled(imageWidth=5), r"b\.json is said to be 5x4, but .*a\.png is 4x4"),
        (
            labelled(
                shape(kind="mask", points=[[0, 0]], mask=encoded([[1]]), group=1),
                shape(points=[[1, 1]], group=1),
            ),
            r"b\.json: shapes\[0\]: a polygon has 2 numbers",
        ),
    ],
)
def test_files_that_cannot_be(lay_out, content, message):
    if isinstance(content, dict) and content.get("imagePath") == "b.png":
        content |= {"imageWidth": None}
    data = lay_out({"a.json": labelled(shape()), "a.png": (4, 4), "b.json": content})
    with pytest.raises(DataError, match=message):
        load_split(data, "val")


def test_written_as_labelme_writes(lay_out, tmp_path):
    """Corners as they are; parts in a group; a mask for what has holes; flags for what is yes or no."""
    ring = {"size": [4, 4], "counts": [5, 2, 2, 1, 6]}  # open on one side, so no hole
    closed = {"size": [4, 4], "counts": [0, 5, 1, 3, 1, 6]}
    own = [0.25, 1, 3.125, 1, 3, 3]
    document = {
        "images": [{"id": 1, "file_name": "a.png", "height": 4, "width": 4}],
        "annotations": [
            {
                "image_id": 1,
                "category_id": 1,
                "segmentation": [own],
                "attributes": {"old": True, "n": 3},
            },
            {"image_id": 1, "category_id": 1, "segmentation": [own, own]},
            {"image_id": 1, "category_id": 1, "segmentation": ring},
            {"image_id": 1, "category_id": 1, "segmentation": closed, "iscrowd": 1},
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "ant\nbee"}],
    }
    data = lay_out({"annotations/instances_train.json": document, "images/a.png": (4, 4)})
    done = convert(data, tmp_path / "out", "labelme")
    assert done.renamed == {"ant\nbee": "ant bee"}
    written = json.loads((tmp_path / "out" / "train" / "a.json").read_text())
    assert (written["imagePath"], written["imageHeight"], written["imageData"]) == (
        "a.png",
        4,
        None,
    )
    first, left, right, open_ring, mask = written["shapes"]
    assert first["points"] == [[0.25, 1], [3.125, 1], [3, 3]]
    assert (first["flags"], first["group_id"]) == ({"old": True}, None)
    assert left["group_id"] == right["group_id"] == 1
    assert open_ring["shape_type"] == "polygon"
    assert (mask["shape_type"], mask["points"]) == ("mask", [[0, 0], [3, 3]])
    assert mask["flags"] == {"iscrowd": True}
    assert (tmp_path / "out" / "labels.txt").read_text().split("\n")[2:] == ["cat", "ant bee", ""]
    annotation = read_split(tmp_path / "out", "train").document["annotations"][0]
    assert annotation["attributes"] == {"old": True}
