from dataclasses import replace

import pytest
import torch
from torch import nn

from yolact.config.model import ModelConfig
from yolact.errors import UsageError
from yolact.model.backbone import Backbone
from yolact.model.build import build_yolact


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("resnet18", [128, 256, 512]),
        ("resnet50", [512, 1024, 2048]),
        ("mobilenetv3_small_100", [24, 48, 576]),
        ("regnetx_002", [56, 152, 368]),
        ("darknet53", [256, 512, 1024]),
        ("convnext_atto", [80, 160, 320]),  # has no map at stride 2
        ("dla34", [128, 256, 512]),  # has one at stride 1, which timm leaves out by default
    ],
)
def test_features_at_strides_8_16_32(name, channels):
    with torch.device("meta"):
        backbone = Backbone(name)
        features = backbone(torch.empty(2, 3, 128, 64))
    assert backbone.channels == channels
    assert [tuple(feature.shape) for feature in features] == [
        (2, c, 128 // stride, 64 // stride) for c, stride in zip(channels, (8, 16, 32), strict=True)
    ]


def test_a_narrower_resnet():
    with torch.device("meta"):
        backbone = Backbone("resnet10t", (8, 16, 24, 32))
        features = backbone(torch.empty(2, 3, 64, 64))
    assert backbone.channels == [16, 24, 32]
    assert [feature.shape[1] for feature in features] == [16, 24, 32]


def test_only_resnets_take_widths():
    with pytest.raises(UsageError, match="'mobilenetv3_small_100' is no ResNet"):
        Backbone("mobilenetv3_small_100", (8, 16, 24, 32))
    with pytest.raises(UsageError, match="widths must be at least 2"):
        ModelConfig(class_names=("a",), backbone="resnet10t", backbone_widths=(0, 8, 8, 8))


def test_darknet_as_published():
    torch.manual_seed(0)
    backbone = Backbone("darknet53").eval()
    slopes = [m.negative_slope for m in backbone.modules() if isinstance(m, nn.LeakyReLU)]
    assert slopes == [0.1] * (1 + 5 + 2 * 23)
    norms = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == len(slopes)
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-5, 0.1)}
    # The last block adds its input and does not rectify the sum.
    block = backbone.body.stages_4.blocks[3]
    nn.init.ones_(block.conv2.bn.weight)
    x = torch.randn(1, 1024, 2, 3)
    with torch.inference_mode():
        assert torch.equal(block(x), x + block.conv2(block.conv1(x)))
        assert (block(x) < -0.5).any()


def test_timms_own_darknet_is_another():
    with torch.device("meta"):
        backbone = Backbone("darknet53.c2ns_in1k")
    slopes = {m.negative_slope for m in backbone.modules() if isinstance(m, nn.LeakyReLU)}
    assert slopes == {0.01}
    with pytest.raises(UsageError, match=r"the backbone darknet53\.c2ns_in1k"):
        Backbone("darknet53", pretrained=True)


def test_unknown_backbone():
    with pytest.raises(UsageError, match="no backbone called 'resnet5000'"):
        Backbone("resnet5000")


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "mixer_s16_224"])
def test_backbone_of_one_stride(name):
    with pytest.raises(UsageError, match=f"'{name}' has no features at stride 8"):
        Backbone(name)


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_100"])
def test_other_backbones_make_a_model(name):
    config = ModelConfig(
        class_names=("a", "b"),
        backbone=name,
        image_size=(64, 96),
        fpn_channels=16,
        protonet_channels=16,
        head_channels=16,
        num_prototypes=4,
    )
    model = build_yolact(config).eval()
    with torch.inference_mode():
        predictions = model(torch.randn(1, 3, 64, 96))
    assert predictions.class_logits.shape == (1, len(model.anchors), 3)
    assert all(t.isfinite().all() for t in vars(predictions).values() if t is not None)


@pytest.mark.parametrize("name", ["convnext_atto", "vgg11"])
def test_backbones_that_round_down_need_a_multiple_of_32(name):
    config = ModelConfig(class_names=("a", "b"), backbone=name, image_size=(100, 76))
    with torch.device("meta"):
        with pytest.raises(UsageError, match="multiple of 32, not 76x100"):
            build_yolact(config)
        model = build_yolact(replace(config, image_size=(96, 64)))
        predictions = model(torch.empty(1, 3, 96, 64))
    assert predictions.box_offsets.shape == (1, len(model.anchors), 4)
