import pytest

from yolact.data.formats.read import list_splits, load_split, read_split
from yolact.errors import DataError

DRAWN = ".... .##. .##. ...."
HEAD = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><id>7</id><size>2</size><subset>default</subset><labels>
    <label><name>dog</name><color>#ff0000</color><type>any</type><attributes></attributes></label>
    <label><name>cat</name><color>#00ff00</color><type>any</type></label>
    <label><name>paw</name><type>points</type><parent>cat</parent></label>
  </labels></task></meta>
"""
POLYGON = '<polygon label="cat" source="manual" occluded="1" points="1.00,1.00;3.00,1.00;3.00,3.00;1.00,3.00" z_order="0"{}>{}</polygon>'
BOX = '<box label="cat" source="manual" occluded="0" xtl="1.00" ytl="0.00" xbr="3.00" ybr="4.00" rotation="{}" z_order="0"{}></box>'
MASK = '<mask label="dog" source="semi-auto" occluded="0" rle="{}" left="1" top="0" width="3" height="3" z_order="0"></mask>'


def xml(*shapes, head=HEAD, name="a.png", more='width="4" height="4"'):
    return f'{head}<image id="0" name="{name}" {more}>\n{"".join(shapes)}\n</image></annotations>'


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ([POLYGON.format("", "")], [("cat", DRAWN)]),
        ([BOX.format(0, "")], [("cat", ".##. " * 3 + ".##.")]),
        ([BOX.format(90, "")], [("cat", ".... #### #### ....")]),
        ([MASK.format("0, 4, 1, 4")], [("dog", ".### .#.# .### ....")]),
        ([MASK.format("4, 1, 4")], [("dog", ".... ..#. .... ....")]),
        (
            ['<ellipse label="cat" occluded="0" cx="2" cy="2" rx="2" ry="1" z_order="0"/>'],
            [("cat", ".... #### #### ....")],
        ),
        # A group is one object; its box is only its box. Group 0 is none.
        (
            [
                POLYGON.format(' group_id="4"', ""),
                BOX.format(0, ' group_id="4"'),
                '<polygon label="cat" points="0,0;1,0;1,1;0,1" group_id="4"/>',
                MASK.format("8, 1"),
            ],
            [("cat", "#... .##. .##. ...."), ("dog", ".... .... ...# ....")],
        ),
        (
            [POLYGON.format(' group_id="0"', ""), POLYGON.format(' group_id="0"', "")],
            [("cat", DRAWN), ("cat", DRAWN)],
        ),
        (['<tag label="cat" source="manual"></tag>'], []),
    ],
)
def test_shapes(lay_out, seen, shapes, expected):
    data = lay_out({"annotations.xml": xml(*shapes), "images/a.png": (4, 4)})
    assert seen(data) == {"a.png": expected}
    assert seen(data / "annotations.xml") == {"a.png": expected}
    assert load_split(data, "val").class_names == ("dog", "cat")


def test_attributes(lay_out):
    shape = POLYGON.format("", '<attribute name="pose">sitting</attribute>')
    data = lay_out({"x.xml": xml(shape), "a.png": (4, 4)})
    (annotation,) = read_split(data, "all").document["annotations"]
    assert annotation["attributes"] == {"pose": "sitting", "occluded": True}
    assert annotation["origin"].endswith("x.xml: image[0] (a.png): polygon 0")


def test_subsets_are_splits(lay_out, seen):
    image = '<image id="{0}" name="{0}.png" subset="{1}" width="4" height="4"></image>'
    head = HEAD.replace("<label>", "<label>", 1)
    text = head + image.format(1, "Validation") + image.format(2, "Train") + "</annotations>"
    data = lay_out({"a.xml": text, "images/Train/2.png": (4, 4), "images/1.png": (4, 4)})
    assert list_splits(data) == ("train", "val")
    assert seen(data, "train") == {"2.png": []}
    assert seen(data, "val") == {"1.png": []}


def test_classes_without_a_list_of_them(lay_out, seen):
    data = lay_out(
        {"a.xml": xml(POLYGON.format("", ""), head="<annotations>"), "images/a.png": (4, 4)}
    )
    assert seen(data) == {"a.png": [("cat", DRAWN)]}


def test_xml_of_others_is_none_of_ours(lay_out):
    data = lay_out({"a.xml": "<annotation></annotation>", "b.xml": "text"})
    with pytest.raises(DataError, match="no labels of a known format"):
        list_splits(data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "<image>", r"a\.xml is not readable XML: no element found: line 9"),
        (xml(more='width="4"'), r"a\.xml: image\[0\] \(a\.png\): has no height and width"),
        (xml(name="b.png"), r"image\[0\] \(b\.png\): there is no picture .*b\.png"),
        (xml(more='width="9" height="4"'), r"image\[0\] \(a\.png\) is said to be 9x4"),
        (xml('<points label="cat" points="1,1"/>'), r"\(a\.png\): points 0: has no area"),
        (xml('<polygon label="cat"/>'), r"polygon 0: has no 'points'"),
        (xml('<polygon label="cat" points="1,x;2,2"/>'), r"polygon 0: could not convert string"),
        (xml('<polygon label="cat" points="1,1;2,2"/>'), r"polygon 0 has a segmentation .* 4 num"),
        (xml(BOX.format("0", "").replace("3.00", "nan")), r"box 0: xbr is no number"),
        (xml(MASK.format("1, 2")), r"mask 0: the rle does not add up to the mask's width and heig"),
        (xml(MASK.format("9").replace('left="1"', 'left="2"')), r"mask 0: the mask does not lie"),
        (
            xml(
                MASK.format("9").replace("<mask", '<mask group_id="1"'),
                '<polygon label="dog" points="1,1" group_id="1"/>',
            ),
            r"mask 0: a polygon has 2 numbers",
        ),
    ],
)
def test_what_cannot_be(lay_out, text, message):
    data = lay_out({"a.xml": text, "images/a.png": (4, 4)})
    with pytest.raises(DataError, match=message):
        load_split(data, "val")
