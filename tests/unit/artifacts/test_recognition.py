import json

import pytest

from yolact.artifacts.recognition import recognise
from yolact.errors import CheckpointError

R101 = ("yolact-base", "yolact-im700", "yolact-im400")
MODELS = {
    "yolact_base": R101,
    "yolact_im400": R101,
    "yolact_im700": R101,
    "yolact_resnet50": ("yolact-resnet50",),
    "yolact_darknet53": ("yolact-darknet53",),
    "yolact_plus_base": ("yolact-plus-base",),
    "yolact_plus_resnet50": ("yolact-plus-resnet50",),
}


@pytest.fixture(scope="module")
def layouts(golden):
    return json.loads((golden / "layouts.json").read_text())


def with_classes(layout, num_classes):
    """The layout of the same model for another number of classes (spec 2.3)."""
    anchors = layout["prediction_layers.0.bbox_layer.weight"][0] // 4
    changed = dict(layout)
    for key in layout:
        if key.startswith(("semantic_seg_conv.", "maskiou_net.maskiou_net.10.")):
            changed[key] = [num_classes, *layout[key][1:]]
        elif key.startswith("prediction_layers.0.conf_layer."):
            changed[key] = [(num_classes + 1) * anchors, *layout[key][1:]]
    return changed


def test_every_published_layout_is_recognised(layouts):
    assert set(layouts) == set(MODELS)
    for original, names in MODELS.items():
        found = recognise(layouts[original], "x.pth", "any_name.pth")
        assert (found.names, found.num_classes) == (names, 80), original


@pytest.mark.parametrize("original", MODELS)
def test_left_overs_and_other_classes_change_nothing(layouts, original):
    layout = with_classes(layouts[original], 7)
    layout["fpn.downsample_layers.2.weight"] = [256, 256, 3, 3]
    layout["backbone.layer1.9.conv1.weight"] = [64, 64, 1, 1]
    found = recognise(layout, "x.pth")
    assert found.names[0] == MODELS[original][0]
    assert found.num_classes == 7


@pytest.mark.parametrize(
    ("file_name", "first"),
    [
        ("yolact_im400_54_800000.pth", "yolact-im400"),
        ("my-yolact-im700.pth", "yolact-im700"),
        ("yolact_base_54_800000.pth", "yolact-base"),
        ("yolact_resnet50_54_800000.pth", "yolact-base"),  # a name cannot overrule the keys
        ("weights.pth", "yolact-base"),
    ],
)
def test_the_file_name_decides_among_equals_alone(layouts, file_name, first):
    found = recognise(layouts["yolact_base"], "x.pth", file_name)
    assert found.names[0] == first
    assert sorted(found.names) == sorted(R101)


@pytest.mark.parametrize(
    ("num_classes", "file_name", "names"),
    [
        (20, "x.pth", ("yolact-resnet50-pascal", "yolact-resnet50")),
        (20, "yolact_resnet50_12_1000.pth", ("yolact-resnet50", "yolact-resnet50-pascal")),
        (3, "x.pth", ("yolact-resnet50", "yolact-resnet50-pascal")),
        (3, "yolact_resnet50_pascal_1_2.pth", ("yolact-resnet50-pascal", "yolact-resnet50")),
        (80, "yolact_resnet50_pascal_1_2.pth", ("yolact-resnet50",)),
    ],
)
def test_pascal_and_coco(layouts, num_classes, file_name, names):
    layout = with_classes(layouts["yolact_resnet50"], num_classes)
    assert recognise(layout, "x.pth", file_name).names == names


@pytest.mark.parametrize(
    "key", ["semantic_seg_conv.weight", "prediction_layers.0.bbox_layer.weight"]
)
def test_what_is_no_yolact(layouts, key):
    layout = dict(layouts["yolact_resnet50"])
    del layout[key]
    for shapes in (layout, layout | {key: ()}, {}):
        with pytest.raises(CheckpointError, match=r"^x\.pth is no YOLACT checkpoint: it has no"):
            recognise(shapes, "x.pth")


@pytest.mark.parametrize(
    ("original", "extra", "said"),
    [
        ("yolact_base", "backbone.layers.2.23.conv1.weight", r"\(3, 4, 24, 3\) blocks, 0 of them"),
        ("yolact_base", "maskiou_net.maskiou_net.0.weight", "3 anchors per cell and a mask re-sc"),
        ("yolact_resnet50", "backbone.layers.1.0.conv2.conv_offset_mask.weight", "1 of them"),
    ],
)
def test_layouts_that_nobody_published(layouts, original, extra, said):
    with pytest.raises(CheckpointError, match=rf"^x\.pth is of no published model: .*{said}"):
        recognise(layouts[original] | {extra: (1, 1, 1, 1)}, "x.pth")
