"""Formats whose labels are pictures: instance masks, Pascal VOC, SBD."""

import sys

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from yolact.data.formats.label_map import read_label_map, write_label_map
from yolact.data.formats.read import list_splits, load_split, read_split
from yolact.errors import DataError

IDS = np.array([[0, 7, 7, 0], [0, 7, 9, 9], [0, 7, 7, 9], [0, 0, 0, 0]])
SEVEN, NINE = ".##. .#.. .##. ....", ".... ..## ...# ...."


# --- Instance masks -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mask",
    [
        IDS.astype(np.uint8),
        IDS.astype(np.uint8) * 20,
        IDS.astype(np.uint16) * 4000,
        np.stack([IDS, IDS * 0, IDS], axis=-1).astype(np.uint8),
        np.stack([IDS, IDS, IDS, (IDS > 0) * 255], axis=-1).astype(np.uint8),
    ],
)
def test_every_value_is_an_object(lay_out, seen, mask):
    data = lay_out({"images/a.jpg": (4, 4), "images/b.png": (2, 2), "masks/a.png": mask})
    assert list_splits(data) == ("all",)
    assert seen(data) == {"a.jpg": [("object", SEVEN), ("object", NINE)], "b.png": []}


def test_palettes_and_two_levels(lay_out, seen):
    data = lay_out({"images/a.png": (4, 4), "images/b.png": (4, 4), "masks/x": ""})
    (data / "masks" / "x").unlink()
    picture = Image.fromarray(IDS.astype(np.uint8), "P")
    picture.putpalette([0, 0, 0] * 256)  # all alike, so only the index tells them apart
    picture.save(data / "masks" / "a.png")
    Image.fromarray(IDS == 7).save(data / "masks" / "b.png")
    assert seen(data) == {
        "a.png": [("object", SEVEN), ("object", NINE)],
        "b.png": [("object", SEVEN)],
    }


def test_objects_of_one_class_that_has_a_name(lay_out, seen):
    mask = (IDS == 7).astype(np.uint8)
    data = lay_out({"classes.txt": "cat\n", "images/a.png": (4, 4), "masks/a.png": mask})
    assert seen(data) == {"a.png": [("cat", SEVEN)]}


@pytest.mark.parametrize("listed", [None, "dog\nbee\ncat\n"])
def test_classes_are_folders(lay_out, seen, listed):
    cat, dog = (IDS == 7).astype(np.uint8), (IDS >= 7).astype(np.uint8)
    files = {
        f"{split}/{name}": content
        for split in ("train", "valid")
        for name, content in (
            ("images/s/a.jpg", (4, 4)),
            ("masks/cat/s/a.png", cat),
            ("masks/dog/s/a.png", dog),
        )
    }
    data = lay_out(files | ({"classes.txt": listed} if listed else {}))
    assert list_splits(data) == ("train", "val")
    found = seen(data)["a.jpg"]
    assert sorted(found) == [("cat", SEVEN), ("dog", ".##. .### .### ....")]
    names = ("dog", "bee", "cat") if listed else ("cat", "dog")
    assert load_split(data, "val").class_names == names


def test_masks_that_cannot_be(lay_out):
    small = np.ones((2, 2), np.uint8)
    data = lay_out(
        {f"images/{name}.png": (4, 4) for name in "abc"}
        | {"images/d.png": "text"}
        | {"masks/a.png": small, "masks/b.png": "text", "masks/d.png": small, "masks/e.png": small}
    )
    said = [str(p).replace(f"{data}/", "") for p in read_split(data, "all").problems]
    assert said[0] == "masks/a.png: is 2x2 pixels, its picture 4x4"
    assert said[1].startswith("masks/b.png: cannot be read as a picture: ")
    assert said[2].startswith("images/d.png: ")
    assert said[3] == "masks/e.png: there is no picture of this name in images, or no such class"
    with pytest.raises(DataError, match=r"masks/a\.png: is 2x2 pixels, its picture 4x4\.$"):
        load_split(data, "val")


@pytest.mark.parametrize(("count", "mode"), [(255, "L"), (256, "I;16"), (70000, "RGB")])
def test_as_many_objects_as_there_are(tmp_path, count, mode):
    """8 bits, 16 bits, colours: whatever holds their numbers."""
    labels = np.arange(count + 1).reshape(-1, 1)
    write_label_map(tmp_path / "a.png", labels)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode == mode
    assert (read_label_map(tmp_path / "a.png") == labels).all()


# --- Pascal VOC and SBD ---------------------------------------------------------------------------


def palette_picture(values, path):
    """As VOC's: indices with its colours."""
    from yolact.data.formats.voc import _colour

    picture = Image.fromarray(values.astype(np.uint8), "P")
    colours = [(_colour(i) >> 16, _colour(i) >> 8 & 255, _colour(i) & 255) for i in range(256)]
    picture.putpalette([channel for colour in colours for channel in colour])
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def voc(root, ids=IDS, classes=None, names=("2007_1",)):
    if classes is None:
        classes = np.select([ids == 7, ids == 9, ids == 255], [15, 8, 255], 0)
    for name in names:
        palette_picture(ids, root / "SegmentationObject" / f"{name}.png")
        palette_picture(classes, root / "SegmentationClass" / f"{name}.png")


@pytest.mark.parametrize("root", [".", "VOC2012", "VOCdevkit/VOC2007"])
def test_pascal_voc(lay_out, seen, root):
    data = lay_out(
        {
            f"{root}/JPEGImages/2007_1.jpg": (4, 4),
            f"{root}/ImageSets/Segmentation/train.txt": "",
            f"{root}/ImageSets/Segmentation/val.txt": "2007_1\n",
            f"{root}/ImageSets/Segmentation/trainval.txt": "2007_1\n",
            f"{root}/Annotations/2007_1.xml": "<annotation></annotation>",
        }
    )
    ids = IDS.copy()
    ids[3, 3] = 255  # the border is nobody's
    voc(data / root, ids)
    assert list_splits(data) == ("train", "val")
    assert seen(data) == {"2007_1.jpg": [("person", SEVEN), ("cat", NINE)]}
    assert len(load_split(data, "train").class_names) == 20


def test_voc_colours():
    from yolact.data.formats.voc import _colour

    assert [_colour(i) for i in (0, 1, 2, 15, 20)] == [0, 0x800000, 0x008000, 0xC08080, 0x004080]
    assert _colour(255) == 0xE0E0C0


def test_own_classes_in_colours_as_cvat_exports(lay_out, seen):
    data = lay_out(
        {
            "labelmap.txt": "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:9,8,7::\ndog:1,2,3::\n",
            "JPEGImages/a.png": (4, 4),
            "ImageSets/Segmentation/default.txt": "a\n",
            "SegmentationClass/x": "",
            "SegmentationObject/x": "",
        }
    )
    colours = np.zeros((4, 4, 3), np.uint8)
    colours[IDS == 7], colours[IDS == 9] = (1, 2, 3), (9, 8, 7)
    Image.fromarray(colours).save(data / "SegmentationClass" / "a.png")
    objects = np.stack([IDS * 20, IDS, IDS], axis=-1).astype(np.uint8)
    objects[3] = (224, 224, 192)
    Image.fromarray(objects).save(data / "SegmentationObject" / "a.png")
    assert list_splits(data) == ("all",)
    assert seen(data) == {"a.png": [("dog", SEVEN), ("cat", NINE)]}
    (data / "labelmap.txt").write_text("cat:9,8\n")
    with pytest.raises(DataError, match=r"labelmap\.txt:1 has no colour"):
        load_split(data, "val")


def test_voc_without_lists(lay_out, seen):
    data = lay_out({"JPEGImages/2007_1.jpg": (4, 4)})
    voc(data)
    assert len(seen(data)["2007_1.jpg"]) == 2


def test_voc_that_cannot_be(lay_out):
    names = ("gone", "a", "b", "c", "d")
    data = lay_out(
        {"ImageSets/Segmentation/val.txt": "\n".join(names)}
        | {f"JPEGImages/{name}.jpg": (4, 4) for name in "abc"}
        | {"JPEGImages/d.jpg": (5, 4)}
    )
    voc(data, names=("b",), classes=IDS * 0)
    voc(data, names=("d",))
    voc(data, names=("c",), classes=np.zeros((3, 3)))
    said = [str(p).replace(f"{data}/", "") for p in read_split(data, "val").problems]
    assert said == [
        "SegmentationObject/gone: there is no picture JPEGImages/gone.jpg",
        "SegmentationObject/a: is not there",
        "SegmentationObject/b: object 7: has no class",
        "SegmentationObject/b: object 9: has no class",
        "SegmentationObject/c: its SegmentationClass has another size",
        "SegmentationObject/d: is 4x4 pixels, its picture 5x4",
    ]


@pytest.mark.parametrize("root", [".", "dataset", "benchmark_RELEASE/dataset"])
def test_sbd(lay_out, seen, root, monkeypatch):
    data = lay_out(
        {
            f"{root}/img/2008_1.jpg": (4, 4),
            f"{root}/train.txt": "2008_1\n",
            f"{root}/val.txt": "2008_2\n2008_3\n",
            f"{root}/img/2008_2.jpg": (4, 4),
            f"{root}/img/2008_3.jpg": (4, 4),
            f"{root}/inst/2008_3.mat": "text",
        }
    )
    segmentation = np.select([IDS == 7, IDS == 9], [1, 2], 0).astype(np.uint8)
    truth = {"Segmentation": segmentation, "Categories": np.array([[15], [8]], np.uint8)}
    savemat(data / root / "inst" / "2008_1.mat", {"GTinst": truth})
    assert list_splits(data) == ("train", "val")
    assert seen(data, "train") == {"2008_1.jpg": [("person", SEVEN), ("cat", NINE)]}
    first, second = read_split(data, "val").problems
    assert (first.where.endswith("inst/2008_2"), first.what) == (True, "is not there")
    assert second.what.startswith("cannot be read: ")
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(DataError, match="holds files of MATLAB: 'pip install scipy'"):
        read_split(data, "train")
