from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from yolact.artifacts.original_weights import rename_original_weights
from yolact.config.model import AnchorConfig, ModelConfig
from yolact.config.presets import preset
from yolact.model.build import build_yolact, prototype_size, pyramid_sizes

NAMES = {
    "yolact_resnet50": "yolact-resnet50",
    "yolact_base": "yolact-base",
    "yolact_im400": "yolact-im400",
    "yolact_im700": "yolact-im700",
    "yolact_darknet53": "yolact-darknet53",
    "yolact_plus_base": "yolact-plus-base",
    "yolact_plus_resnet50": "yolact-plus-resnet50",
}


def on_meta(config):
    """The network without values: shapes cost nothing."""
    with torch.device("meta"):
        return build_yolact(config)


def narrow(**settings):
    return ModelConfig(
        class_names=("a", "b", "c"),
        **{
            "backbone": "resnet18",
            "image_size": (64, 64),
            "fpn_channels": 16,
            "protonet_channels": 16,
            "head_channels": 16,
            "num_prototypes": 4,
            **settings,
        },
    )


@pytest.mark.parametrize("original", NAMES)
def test_published_weights_fit_one_to_one(formula, original):
    layout = formula.layouts[original]
    published = {key: torch.empty(shape, device="meta") for key, shape in layout.items()}
    unused = {  # in the published files, see spec 2.3
        "fpn.downsample_layers.2.weight": torch.empty(256, 256, 3, 3, device="meta"),
        "fpn.downsample_layers.2.bias": torch.empty(256, device="meta"),
        "backbone.layer1.0.conv1.weight": torch.empty(64, 64, 1, 1, device="meta"),
    }
    renamed = rename_original_weights({**published, **unused}, original)
    ours = on_meta(preset(NAMES[original]).model).state_dict()
    assert {k: tuple(v.shape) for k, v in renamed.items()} == {
        k: tuple(v.shape) for k, v in ours.items()
    }
    assert len(renamed) == len(layout)  # no two became one


def test_files_of_very_old_pytorch_fit_too(formula):
    layout = formula.layouts["yolact_resnet50"]
    old = {
        key: torch.empty(shape, device="meta")
        for key, shape in layout.items()
        if not key.endswith("num_batches_tracked")
    }
    assert len(old) == len(layout) - 53
    renamed = rename_original_weights(old, "old")
    assert set(renamed) == set(on_meta(preset("yolact-resnet50").model).state_dict())
    assert renamed["backbone.body.bn1.num_batches_tracked"] == 0


@pytest.mark.parametrize(
    ("name", "trainable", "parts"),
    [
        ("yolact-resnet50", 31_164_943, {"backbone": 23_508_032}),
        ("yolact-base", 50_157_071, {"backbone": 42_500_160}),
        ("yolact-darknet53", 47_783_087, {"backbone": 40_584_928, "fpn": 3_409_920}),
        (
            "yolact-resnet50-pascal",
            30_734_623,
            {"backbone": 23_508_032, "head": 984_235, "semantic_head": 5_140},
        ),
        (
            "yolact-plus-resnet50",
            33_766_460,
            {"backbone": 24_382_879, "head": 3_017_245, "mask_scorer": 108_560},
        ),
        (
            "yolact-plus-base",
            52_571_142,
            {"backbone": 43_187_561, "head": 3_017_245, "mask_scorer": 108_560},
        ),
    ],
)
def test_number_of_parameters(name, trainable, parts):
    model = on_meta(preset(name).model)
    assert sum(p.numel() for p in model.parameters()) == trainable
    assert {part: sum(p.numel() for p in m.parameters()) for part, m in model.named_children()} == {
        "fpn": 3_868_672,
        "protonet": 2_368_544,
        "head": 1_399_135,
        "semantic_head": 20_560,
        **parts,
    }


@pytest.mark.parametrize(
    ("name", "sizes", "prototypes", "anchors"),
    [
        ("yolact-resnet50", (69, 35, 18, 9, 5), 138, 19248),
        ("yolact-im400", (50, 25, 13, 7, 4), 100, 10077),
        ("yolact-im700", (88, 44, 22, 11, 6), 176, 30963),
        ("yolact-darknet53", (69, 35, 18, 9, 5), 138, 19248),
        ("yolact-plus-resnet50", (69, 35, 18, 9, 5), 138, 57744),
    ],
)
def test_sizes_of_the_published_models(name, sizes, prototypes, anchors):
    config = preset(name).model
    assert pyramid_sizes(config.image_size) == [(size, size) for size in sizes]
    assert prototype_size(config.image_size) == (prototypes, prototypes)
    model = on_meta(config)
    assert model.anchors.shape == (anchors, 4)
    levels = model.fpn(model.backbone(torch.empty(2, 3, *config.image_size, device="meta")))
    assert [tuple(level.shape) for level in levels] == [(2, 256, s, s) for s in sizes]
    predictions = model(torch.empty(2, 3, *config.image_size, device="meta"), with_semantics=True)
    assert {part: tuple(tensor.shape) for part, tensor in vars(predictions).items()} == {
        "box_offsets": (2, anchors, 4),
        "class_logits": (2, anchors, 81),
        "coefficients": (2, anchors, 32),
        "prototypes": (2, 32, prototypes, prototypes),
        "semantic_logits": (2, 80, sizes[0], sizes[0]),
    }


@pytest.mark.parametrize("size", [(64, 96), (100, 75), (129, 65)])
def test_sizes_of_any_input(size):
    model = on_meta(narrow(image_size=size))
    predictions = model(torch.empty(1, 3, *size, device="meta"))
    assert predictions.box_offsets.shape == (1, len(model.anchors), 4)
    assert predictions.prototypes.shape[-2:] == prototype_size(size)


def test_nano_is_small():
    config = preset("yolact-nano").model
    assert config.image_size == (320, 320)
    model = on_meta(config).eval()
    assert sum(p.numel() for p in model.parameters()) <= 4_000_000
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, 320, 320, device="meta"))
    assert 1e9 < counter.get_total_flops() <= 4e9


def test_work_of_the_published_model():
    model = on_meta(preset("yolact-resnet50").model)
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, 550, 550, device="meta"), with_semantics=True)
    assert counter.get_total_flops() / 2 == pytest.approx(59.2e9, rel=1e-3)  # multiply-adds


@pytest.mark.parametrize("number", [1, 7])
def test_another_number_of_classes_changes_the_classifiers_only(number):
    few = on_meta(replace(preset("yolact-resnet50").model, class_names=("thing",) * number))
    many = on_meta(preset("yolact-resnet50").model)
    shapes = {name: tensor.shape for name, tensor in many.state_dict().items()}
    changed = {name for name, tensor in few.state_dict().items() if tensor.shape != shapes[name]}
    assert changed == {
        f"{layer}.{kind}"
        for layer in ("head.classes", "semantic_head")
        for kind in ("weight", "bias")
    }


def test_another_number_of_classes_changes_the_judge_of_masks_too():
    few = on_meta(narrow(mask_rescoring=True)).state_dict()
    many = on_meta(replace(narrow(mask_rescoring=True), class_names=tuple("abcd"))).state_dict()
    judge = {name for name in few if name.startswith("mask_scorer")}
    changed = {name for name in judge if few[name].shape != many[name].shape}
    assert changed == {"mask_scorer.project.weight", "mask_scorer.project.bias"}


def test_anchors_are_no_weights():
    assert "anchors" not in on_meta(narrow()).state_dict()


@pytest.mark.parametrize("block", ["plain", "light"])
def test_initial_weights(block):
    torch.manual_seed(0)
    model = build_yolact(narrow(block=block, protonet_depth=2, mask_rescoring=True))
    for name, module in model.named_modules():
        if name.startswith("backbone") or not isinstance(module, nn.Conv2d):
            continue
        out, into, height, width = module.weight.shape
        bound = (6 / ((out + into) * height * width)) ** 0.5  # Xavier uniform
        assert 0.8 * bound < module.weight.abs().max() <= bound, name
        if module.bias is not None:
            assert not module.bias.any(), name


@pytest.mark.parametrize(
    ("scales", "ratios", "per_cell"),
    [(((8.0,),) * 5, (1.0,), 1), (((8.0, 12.0, 16.0),) * 5, (1.0, 0.5, 2.0), 9)],
)
def test_other_numbers_of_anchors(scales, ratios, per_cell):
    model = on_meta(narrow(anchors=AnchorConfig(scales=scales, ratios=ratios)))
    predictions = model(torch.empty(1, 3, 64, 64, device="meta"))
    cells = 64 + 16 + 4 + 1 + 1
    assert predictions.coefficients.shape == (1, cells * per_cell, 4)
    assert model.anchors.shape == (cells * per_cell, 4)
