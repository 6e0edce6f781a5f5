"""Every kind of bad data: what is said of it, where, and what --fix makes of it."""

import copy
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from yolact.config.presets import yolact_nano
from yolact.data.coco import decode_mask
from yolact.data.doctor.check import examine
from yolact.data.doctor.findings import KINDS
from yolact.data.doctor.fix import mend
from yolact.data.formats.raw import Problem
from yolact.data.formats.read import list_splits, load_split, read_split
from yolact.data.images import read_image
from yolact.errors import DataError, UsageError

HEIGHT, WIDTH = 96, 128


def rectangle(x1, y1, x2, y2):
    return [x1, y1, x2, y1, x2, y2, x1, y2]


def labelled(index, image_id, category_id, x1, y1, x2, y2):
    return {
        "id": index,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1),
        "iscrowd": 0,
        "segmentation": [rectangle(x1, y1, x2, y2)],
    }


def good():
    """Two splits without a flaw: three pictures and five objects, one picture and two objects."""
    categories = [{"id": 1, "name": "cat"}, {"id": 5, "name": "dog"}]
    images = [
        {"id": i, "file_name": f"{name}.png", "height": HEIGHT, "width": WIDTH}
        for i, name in ((10, "a"), (20, "b"), (30, "c"))
    ]
    train = [
        labelled(1, 10, 1, 10, 10, 50, 50),
        labelled(2, 10, 5, 60, 20, 110, 70),
        labelled(3, 20, 1, 20, 30, 60, 80),
        labelled(4, 20, 5, 70, 10, 110, 40),
        labelled(5, 30, 1, 30, 30, 90, 70),
    ]
    val = [labelled(1, 10, 1, 20, 20, 70, 60), labelled(2, 10, 5, 80, 40, 120, 90)]
    return {
        "train": {"images": images, "annotations": train, "categories": categories},
        "val": {
            "images": [{"id": 10, "file_name": "v.png", "height": HEIGHT, "width": WIDTH}],
            "annotations": val,
            "categories": copy.deepcopy(categories),
        },
    }


def scene(seed):
    """A picture like no other, smooth enough to survive another compression."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return small.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)


def write(folder, documents, **others):
    """A data set on disk; ``others`` replace pictures, as bytes or images, or None for no file."""
    pictures = {"a": scene(1), "b": scene(2), "c": scene(3), "v": scene(4)} | others
    for split, names in (("train", "abc"), ("val", "v")):
        (folder / "images" / split).mkdir(parents=True)
        for name in names:
            path, picture = folder / "images" / split / f"{name}.png", pictures[name]
            if isinstance(picture, bytes):
                path.write_bytes(picture)
            elif picture is not None:
                picture.save(path)
    (folder / "annotations").mkdir()
    for split, document in documents.items():
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(document))
    return folder


def check(folder, **settings):
    splits = {split: read_split(folder, split) for split in list_splits(folder)}
    return examine(splits, yolact_nano, "yolact-nano", **settings)


def told(examination, code):
    return [(f.split, f.file, f.annotation, f.text) for f in examination.by_code().get(code, ())]


def test_a_good_set_has_no_findings_and_is_copied_as_it_is(tmp_path):
    data = write(tmp_path / "data", good())
    examination = check(data)
    assert examination.findings == ()
    assert examination.anchors.num_objects == 5
    assert mend(examination, tmp_path / "out") == []
    for split, document in good().items():
        written = json.loads((tmp_path / "out/annotations" / f"instances_{split}.json").read_text())
        assert written == document
    assert (tmp_path / "out/images/val/v.png").read_bytes() == (
        data / "images/val/v.png"
    ).read_bytes()


def change(*path, to):
    """A mutation: the value at ``path`` of the train document becomes ``to``."""

    def mutate(documents):
        place = documents["train"]
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to

    return mutate


def add(key, entry):
    return lambda documents: documents["train"][key].append(entry)


def drop(*path):
    def mutate(documents):
        place = documents["train"]
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]

    return mutate


def corners(documents):
    for annotation in documents["train"]["annotations"]:
        x, y, w, h = annotation["bbox"]
        annotation["bbox"] = [x, y, x + w, y + h]


def second(annotation_id, category_id=1):
    return labelled(annotation_id, 10, category_id, 10, 10, 50, 50)


def crowds(documents):
    for annotation in documents["train"]["annotations"]:
        annotation["iscrowd"] = 1


def without_class(split, category_id):
    def mutate(documents):
        document = documents[split]
        document["annotations"] = [
            a for a in document["annotations"] if a["category_id"] != category_id
        ]

    return mutate


def other_numbers(documents):
    documents["val"]["categories"] = [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]
    for annotation in documents["val"]["annotations"]:
        annotation["category_id"] = {1: 2, 5: 1}[annotation["category_id"]]


def many_cats(documents):
    documents["train"]["annotations"] = [
        labelled(i, 10 * (i % 3 + 1), 1, i, i, i + 20, i + 20) for i in range(1, 61)
    ] + [labelled(99, 10, 5, 60, 20, 110, 70)]


def a(index, identity):
    return f"annotations[{index}] (id {identity})"


BAD = {
    # mutation, code, file, annotation index, sentence, what --fix says (None: nothing is changed)
    "image entry": (
        add("images", 7), "bad-field", None, None,
        "images[3] is not an object but 7.", "images[3] was dropped: it is not an object but 7.",
    ),
    "annotation entry": (
        add("annotations", "x"), "bad-field", None, 5,
        "annotations[5] is not an object but 'x'.", "was dropped",
    ),
    "image id": (
        add("images", {"file_name": "c.png", "height": 4, "width": 4}), "bad-field", None, None,
        "images[3] has no id.", "images[3] was dropped: it has no id.",
    ),
    "file name": (
        add("images", {"id": 3, "height": 4, "width": 4}), "bad-field", None, None,
        "images[3] has no file_name.", "images[3] was dropped: it has no file_name.",
    ),
    "size missing": (
        drop("images", 2, "width"), "bad-field", "c.png", None,
        "images[2] has no width.", "images[2] got the size of its picture, 128x96.",
    ),
    "size zero": (
        change("images", 2, "height", to=0), "bad-field", "c.png", None,
        "images[2] is said to be 128x0, which no picture is.", "got the size of its picture",
    ),
    "category id text": (
        change("annotations", 1, "category_id", to="5"), "bad-field", None, 1,
        f"{a(1, 2)} has the category_id '5', not a whole number.", f"{a(1, 2)} was dropped",
    ),
    "area text": (
        change("annotations", 1, "area", to="big"), "bad-field", "a.png", 1,
        f"{a(1, 2)} has the area 'big', not a number of pixels.", "got its area from its mask",
    ),
    "crowd": (
        change("annotations", 1, "iscrowd", to="no"), "bad-field", "a.png", 1,
        f"{a(1, 2)} has the iscrowd 'no', not 0 or 1.", "is no crowd",
    ),
    "category entry": (
        add("categories", {"id": 9}), "bad-field", None, None,
        "categories[2] has no name.", "categories[2] was dropped: it has no name.",
    ),
    "image id twice": (
        change("images", 1, "id", to=10), "duplicate-image-id", "b.png", None,
        "images[1] repeats the id 10.", "nobody can tell whose",
    ),
    "annotation id twice": (
        change("annotations", 1, "id", to=1), "duplicate-annotation-id", "a.png", 1,
        f"{a(1, 1)} repeats the id 1.", f"{a(1, 1)} got the id 6.",
    ),
    "category id twice": (
        add("categories", {"id": 1, "name": "cow"}), "duplicate-category-id", None, None,
        "categories[2] repeats the id 1.", "categories[2] was dropped: it repeats the id 1.",
    ),
    "file twice": (
        add("images", {"id": 40, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}),
        "repeated-file", "a.png", None,
        "images[3] lists the same picture as images[0].", "images[3] was joined with images[0].",
    ),
    "unknown image": (
        change("annotations", 1, "image_id", to=77), "unknown-image", None, 1,
        f"{a(1, 2)} belongs to image 77, which is not in the file.", f"{a(1, 2)} was dropped",
    ),
    "unknown category": (
        change("annotations", 1, "category_id", to=77), "unknown-category", "a.png", 1,
        f"{a(1, 2)} has category 77, which is not in the file.", f"{a(1, 2)} was dropped",
    ),
    "size": (
        change("images", 2, "width", to=200), "size-mismatch", "c.png", None,
        "images[2] is said to be 200x96, but", "images[2] got the size of its picture, 128x96.",
    ),
    "resized picture": (
        lambda d: d["train"]["images"][2].update(width=2 * WIDTH, height=2 * HEIGHT),
        "size-mismatch", "c.png", None,
        "images[2] is said to be 256x192, but", "labels of images[2] were scaled to 128x96.",
    ),
    "no mask": (
        drop("annotations", 1, "segmentation"), "no-mask", "a.png", 1,
        f"{a(1, 2)} has no segmentation.", f"{a(1, 2)} was dropped: it has no segmentation.",
    ),
    "empty list": (
        change("annotations", 1, "segmentation", to=[]), "no-mask", "a.png", 1,
        f"{a(1, 2)} has no segmentation.", "was dropped: there is no polygon.",
    ),
    "two points": (
        lambda d: d["train"]["annotations"][1]["segmentation"].append([1, 2, 3, 4]),
        "unreadable-mask", "a.png", 1,
        f"{a(1, 2)} has a segmentation that cannot be read: a polygon has 4 numbers",
        f"{a(1, 2)} lost what is no polygon.",
    ),
    "not finite": (
        change("annotations", 1, "segmentation", to=[[float("nan"), 1, 2, 3, 4, 5]]),
        "unreadable-mask", "a.png", 1, "far outside the picture or not finite", "was dropped",
    ),
    "RLE of another size": (
        change("annotations", 1, "segmentation", to={"size": [4, 4], "counts": [0, 16]}),
        "unreadable-mask", "a.png", 1, "the RLE is [4, 4], the picture [96, 128].", "was dropped",
    ),
    "mask without a pixel": (
        change("annotations", 1, "segmentation", to=[rectangle(3, 3, 3, 3)]),
        "empty-mask", "a.png", 1,
        f"{a(1, 2)} has a mask without a single pixel inside its picture.",
        f"{a(1, 2)} was dropped: its mask has no pixel in the picture.",
    ),
    "mask outside": (
        lambda d: d["train"]["annotations"].append(labelled(6, 10, 1, 90, 5, 140, 95)),
        "mask-outside", "a.png", 5,
        f"{a(5, 6)} reaches 12 pixels beyond its picture of 128x96 pixels.",
        f"{a(5, 6)} was clipped to the picture",
    ),
    "negative box": (
        change("annotations", 1, "bbox", to=[60, 20, -50, 50]), "bad-box", "a.png", 1,
        f"{a(1, 2)} has the bbox [60, 20, -50, 50], whose width or height is negative.",
        f"{a(1, 2)} got its box from its mask.",
    ),
    "box of text": (
        change("annotations", 1, "bbox", to="60 20 50 50"), "bad-box", "a.png", 1,
        f"{a(1, 2)} has the bbox '60 20 50 50', not four finite numbers.", "got its box",
    ),
    "box beyond the picture": (
        change("annotations", 1, "bbox", to=[300, 20, 5, 5]), "bad-box", "a.png", 1,
        "outside its picture of 128x96 pixels.", "got its box from its mask",
    ),
    "boxes by corners": (
        corners, "corner-boxes", "a.png", 0,
        "5 of 5 boxes fit their masks only if read as x1, y1, x2, y2, as [10, 10, 50, 50] of "
        "annotations[0] (id 1).",
        "had its box turned from corners to x, y, width, height",
    ),
    "one box by corners": (
        change("annotations", 0, "bbox", to=[10, 10, 50, 50]), "loose-box", "a.png", 0,
        f"{a(0, 1)} has the bbox [10, 10, 50, 50], but its mask is at [10, 10, 40, 40]. It would "
        "fit as x1, y1, x2, y2.",
        "had its box turned",
    ),
    "box elsewhere": (
        change("annotations", 1, "bbox", to=[0, 0, 20, 20]), "wrong-box", "a.png", 1,
        f"{a(1, 2)} has the bbox [0, 0, 20, 20], but its mask is at [60, 20, 50, 50].",
        f"{a(1, 2)} got its box from its mask.",
    ),
    "box too large": (
        change("annotations", 1, "bbox", to=[55, 18, 60, 55]), "loose-box", "a.png", 1,
        "but its mask is at [60, 20, 50, 50].", "got its box from its mask",
    ),
    "area": (
        change("annotations", 1, "area", to=12), "wrong-area", "a.png", 1,
        f"{a(1, 2)} has the area 12, but its mask has 2500 pixels.", "got its area from its mask",
    ),
    "bow tie": (
        change("annotations", 1, "segmentation", to=[[60, 20, 110, 70, 110, 20, 60, 70]]),
        "self-crossing", "a.png", 1,
        f"{a(1, 2)} has an outline, polygon 0, that crosses itself.", "got its area",
    ),
    "tiny part": (
        lambda d: d["train"]["annotations"][1]["segmentation"].append(rectangle(70, 30, 70.2, 30.2)),
        "tiny-polygon", "a.png", 1,
        f"{a(1, 2)} has a part, polygon 1, that covers no pixel.", None,
    ),
    "object twice": (
        add("annotations", second(6)), "duplicate-object", "a.png", 5,
        f"{a(5, 6)} is the same object as {a(0, 1)}.",
        f"{a(5, 6)} was dropped: it is the same object as {a(0, 1)}.",
    ),
    "object in two classes": (
        add("annotations", second(6, 5)), "same-mask-two-classes", "a.png", 5,
        f"{a(5, 6)} has the same mask as {a(0, 1)}, but is of another class, or a crowd.", None,
    ),
    "name": (
        lambda d: [d[s]["categories"].append({"id": 6, "name": " Cat"}) for s in d],
        "similar-class-names", None, None,
        "category 6 is called ' Cat', and another one 'cat'.", None,
    ),
    "class numbers": (
        other_numbers, "classes-differ", None, None,
        "val has category 1 'dog', which in train is 'cat'.",
        "the categories became those of all splits, numbered as in the first.",
    ),
    "empty class": (
        lambda d: [d[s]["categories"].append({"id": 6, "name": "cow"}) for s in d],
        "class-without-objects", None, None, "there is no object of cow.", None,
    ),
    "class in val only": (
        without_class("train", 5), "class-only-in-validation", None, None,
        "there are objects of dog in val, but none in train.", None,
    ),
    "class in train only": (
        without_class("val", 5), "class-not-validated", None, None,
        "there is no object of dog.", None,
    ),
    "imbalance": (
        many_cats, "class-imbalance", None, None,
        "there are 60 objects of cat, and 1 of dog.", None,
    ),
    "crowds everywhere": (
        crowds, "mostly-crowds", None, None, "5 of 5 annotations are marked iscrowd.", None,
    ),
    "nothing on it": (
        lambda d: d["train"]["annotations"].pop(), "no-objects", "c.png", None,
        "images[2] has no objects.", None,
    ),
    "thin object": (
        add("annotations", labelled(6, 10, 1, 80, 80, 120, 81)), "dropped-in-training", "a.png", 5,
        f"{a(5, 6)} is 100.0x3.3 pixels in the network's input; under 4 it is dropped.", None,
    ),
    "small object": (
        add("annotations", labelled(6, 10, 1, 80, 80, 82, 82)), "lost-at-prototypes", "a.png", 5,
        f"{a(5, 6)} fills 1 of the prototypes' 80x80 cells.", None,
    ),
    "object like no anchor": (
        add("annotations", labelled(6, 10, 1, 2, 80, 126, 84)), "no-anchor", "a.png", 5,
        f"{a(5, 6)} overlaps its best anchor by an IoU of 0.", None,
    ),
}  # fmt: skip


def assert_mended(examination, out, sentence):
    """The copy has no errors; one of its changes is told so, or there are none."""
    changes = mend(examination, out)
    if sentence is None:
        assert changes == []
    else:
        assert any(sentence in change.text for change in changes), changes
    assert check(out).count("error") == 0


@pytest.mark.parametrize("case", BAD)
def test_bad_labels_are_found_and_mended(tmp_path, case):
    mutate, code, file, annotation, sentence, mended = BAD[case]
    documents = good()
    mutate(documents)
    examination = check(write(tmp_path / "data", documents))
    findings = told(examination, code)
    assert any(
        (one_file, index) == (file, annotation) and sentence in text
        for _, one_file, index, text in findings
    ), findings
    assert_mended(examination, tmp_path / "out", mended)
    for split in ("train", "val"):
        load_split(tmp_path / "out", split)  # training takes it


def as_bytes(picture, **settings):
    file = io.BytesIO()
    picture.save(file, **settings)
    return file.getvalue()


def turned(orientation, size=(WIDTH, HEIGHT)):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return as_bytes(scene(9).resize(size), format="JPEG", exif=exif)


@pytest.mark.parametrize(
    ("others", "code", "file", "sentence", "mended"),
    [
        ({"c": None}, "missing-picture", "c.png", "images[2]: there is no picture",
         "images[2] was dropped with 1 objects: there is no picture"),
        ({"c": b"text"}, "unreadable-picture", "c.png", "cannot be read as a picture",
         "images[2] was dropped with 1 objects"),
        ({"c": as_bytes(scene(3), format="PNG")[:-800]}, "unreadable-picture", "c.png",
         "cannot be read as a picture", "images[2] was dropped with 1 objects"),
        ({"c": scene(2)}, "duplicate-picture", "c.png",
         "images[2] is the same file as b.png.", None),
        ({"c": as_bytes(scene(2), format="JPEG", quality=60)}, "near-duplicate-picture", "c.png",
         "images[2] looks like b.png.", None),
        ({"v": scene(2)}, "picture-in-two-splits", "v.png",
         "images[0] is the same file as b.png of train.",
         "images[1] was dropped with 2 objects: it is also in val."),
        ({"v": as_bytes(scene(2), format="JPEG", quality=60)}, "near-duplicate-across-splits",
         "v.png", "images[0] looks like b.png of train.", None),
        ({"c": turned(3)}, "exif-undecided", "c.png",
         "images[2] has the EXIF orientation 3, and its size is the same either way.", None),
    ],
)  # fmt: skip
def test_bad_pictures_are_found_and_mended(tmp_path, others, code, file, sentence, mended):
    examination = check(write(tmp_path / "data", good(), **others))
    findings = told(examination, code)
    assert [(one, sentence in text) for _, one, _, text in findings] == [(file, True)], findings
    assert_mended(examination, tmp_path / "out", mended)


def test_what_is_never_found_without_decoding(tmp_path):
    broken = as_bytes(scene(3), format="PNG")[:-800]
    data = write(tmp_path / "data", good(), c=broken, v=scene(2))
    assert {f.code for f in check(data).findings} == {"unreadable-picture", "picture-in-two-splits"}
    assert check(data, quick=True).findings == ()


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize(
    ("says_upright", "form"), [(False, "polygon"), (False, "rle"), (True, "polygon")]
)
def test_labels_of_unturned_pictures_are_turned(tmp_path, orientation, says_upright, form):
    """The mask must end where the object ends up when the picture is shown upright."""
    stored = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    stored[10:40, 60:120] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    documents = good()
    image = documents["train"]["images"][2]
    image["height"], image["width"] = (WIDTH, HEIGHT) if says_upright else (HEIGHT, WIDTH)
    documents["train"]["annotations"][4] = labelled(5, 30, 1, 60, 10, 120, 40)
    if form == "rle":
        mask = np.zeros((HEIGHT, WIDTH), dtype=int)
        mask[10:40, 60:120] = 1
        runs = np.diff(np.flatnonzero(np.diff(mask.T.ravel(), prepend=0, append=0)), prepend=0)
        counts = [*runs.tolist(), mask.size - int(runs.sum())]
        documents["train"]["annotations"][4]["segmentation"] = {
            "size": [HEIGHT, WIDTH],
            "counts": counts,
        }
    picture = as_bytes(Image.fromarray(stored), format="PNG", exif=exif)
    examination = check(write(tmp_path / "data", documents, c=picture))
    (finding,) = examination.by_code()["exif-rotation"]
    assert finding.file == "c.png"
    assert "its EXIF orientation says turn." in finding.text
    changes = mend(examination, tmp_path / "out")
    assert [c.text for c in changes] == ["the labels of images[2] were turned upright, to 96x128."]
    assert check(tmp_path / "out").count("error") == 0
    record = load_split(tmp_path / "out", "train").records[2]
    white = read_image(record.path)[:, :, 0] > 127
    crop = decode_mask(record.annotations[0].segmentation, record.height, record.width)
    rows, columns = np.nonzero(white)
    assert (crop.x, crop.y) == (columns.min(), rows.min())
    assert crop.bitmap.shape == (np.ptp(rows) + 1, np.ptp(columns) + 1)
    assert crop.bitmap.all()
    assert record.annotations[0].box == (
        columns.min(), rows.min(), columns.max() + 1, rows.max() + 1,
    )  # fmt: skip


def test_low_recall_comes_with_scales_that_help(tmp_path):
    documents = good()
    documents["train"]["annotations"] = [
        labelled(i, 10 * (i % 3 + 1), 1 + 4 * (i % 2), i * 5, i * 4, i * 5 + 5, i * 4 + 5)
        for i in range(1, 20)
    ]
    examination = check(write(tmp_path / "data", documents))
    ((_, _, _, text),) = told(examination, "low-anchor-recall")
    assert text == "19 of 19 objects have no anchor of IoU 0.4 in yolact-nano at 320x320."
    assert examination.anchors.recall == 0
    assert examination.anchors.fitted_recall == 1
    assert [len(level) for level in examination.anchors.fitted_scales] == [3] * 5


def test_new_ids_for_images_whose_id_no_object_uses(tmp_path):
    documents = good()
    del documents["train"]["annotations"][4]
    documents["train"]["images"].append(documents["train"]["images"][2] | {"file_name": "d.png"})
    data = write(tmp_path / "data", documents)
    scene(8).save(data / "images/train/d.png")
    changes = mend(check(data), tmp_path / "out")
    assert [change.text for change in changes] == ["images[3] got the id 31."]


def test_what_needs_a_person_is_left_out(tmp_path):
    documents = good()
    documents["train"]["images"][2].update(width=300, height=70)
    documents["train"]["annotations"].append(labelled(6, 30, 1, 200, 10, 280, 60))
    changes = mend(check(write(tmp_path / "data", documents)), tmp_path / "out")
    assert [change.text for change in changes] == [
        "images[2] was dropped with 2 objects: its labels do not fit the picture, which needs a "
        "person."
    ]


def test_paths_stay_inside_the_copy(tmp_path):
    documents = good()
    documents["train"]["images"][2]["file_name"] = str(tmp_path / "elsewhere.png")
    documents["train"]["images"][1]["file_name"] = "../val/v.png"
    documents["val"]["images"], documents["val"]["annotations"] = [], []
    data = write(tmp_path / "data", documents)
    scene(7).save(tmp_path / "elsewhere.png")
    mend(check(data), tmp_path / "out")
    written = sorted(p.name for p in (tmp_path / "out/images/train").iterdir())
    assert written == ["a.png", "elsewhere.png", "v.png"]


def test_labels_that_no_reader_could_read(tmp_path):
    data = write(tmp_path / "data", good())
    raw = read_split(data, "train")
    splits = {"train": replace(raw, problems=(Problem("labels/a.txt:3", "has no numbers"),))}
    examination = examine(splits, yolact_nano, "yolact-nano")
    (finding,) = examination.by_code()["unreadable-labels"]
    assert finding.text == "labels/a.txt:3: has no numbers."
    (change,) = mend(examination, tmp_path / "out")
    assert change.text == "labels/a.txt:3: has no numbers, so it is missing."


def test_nothing_is_written_over(tmp_path):
    data = write(tmp_path / "data", good())
    with pytest.raises(UsageError, match="not an empty folder"):
        mend(check(data), data)


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
def test_a_document_without_its_lists_cannot_be_examined(tmp_path, key):
    documents = good()
    del documents["train"][key]
    with pytest.raises(DataError, match=f"it has no list called {key}"):
        check(write(tmp_path / "data", documents))


def test_a_document_without_classes_cannot_be_examined(tmp_path):
    documents = good()
    documents["train"]["categories"] = []
    with pytest.raises(DataError, match="names no categories"):
        check(write(tmp_path / "data", documents))


def test_every_kind_has_a_test():
    here = {code for _, code, *_ in BAD.values()}
    elsewhere = {
        "unreadable-labels", "missing-picture", "unreadable-picture", "duplicate-picture",
        "near-duplicate-picture", "picture-in-two-splits", "near-duplicate-across-splits",
        "exif-undecided", "exif-rotation", "low-anchor-recall",
    }  # fmt: skip
    assert here | elsewhere == set(KINDS)
