import pytest
import torch
from torch import nn

from oracles.deform_conv import deform_conv
from yolact.errors import UsageError
from yolact.model.backbone import Backbone
from yolact.model.deform_conv import DeformableConv


def random_layer(stride=1, channels=(2, 3)):
    layer = DeformableConv(nn.Conv2d(*channels, 3, stride=stride, padding=1, bias=False))
    nn.init.normal_(layer.conv_offset_mask.weight)  # offsets of several cells, also to the outside
    nn.init.normal_(layer.conv_offset_mask.bias)
    nn.init.normal_(layer.bias)
    return layer.double()


@pytest.mark.parametrize("stride", [1, 2])
def test_equals_the_oracle(stride):
    torch.manual_seed(stride)
    layer = random_layer(stride)
    x = torch.randn(2, 2, 5, 6, dtype=torch.float64)
    with torch.inference_mode():
        output, predicted = layer(x), layer.conv_offset_mask(x)
    for image in range(2):
        expected = deform_conv(
            x[image].tolist(),
            predicted[image].tolist(),
            layer.weight.tolist(),
            layer.bias.tolist(),
            stride,
        )
        torch.testing.assert_close(output[image], torch.tensor(expected).double())


def test_starts_as_half_of_what_it_replaces():
    torch.manual_seed(0)
    plain = nn.Conv2d(4, 4, 3, stride=2, padding=1, bias=False)
    x = torch.randn(1, 4, 9, 8)
    layer = DeformableConv(plain)
    assert layer.weight is plain.weight
    torch.testing.assert_close(layer(x), plain(x) / 2)


def test_everything_learns():
    torch.manual_seed(0)
    layer = DeformableConv(nn.Conv2d(4, 4, 3, padding=1, bias=False))
    layer(torch.randn(1, 4, 6, 6)).square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(
    ("name", "interval", "expected"),
    [
        ("resnet50", 1, {2: range(4), 3: range(6), 4: range(3)}),
        ("resnet101", 3, {2: (0, 3), 3: range(0, 23, 3), 4: (0,)}),
        ("resnet26", 2, {2: (0,), 3: (0,), 4: (0,)}),
    ],
)
def test_which_blocks_are_deformable(name, interval, expected):
    with torch.device("meta"):
        body = Backbone(name, deformable_interval=interval).body
    names = {n for n, module in body.named_modules() if isinstance(module, DeformableConv)}
    assert names == {f"layer{s}.{b}.conv2" for s, blocks in expected.items() for b in blocks}


@pytest.mark.parametrize("name", ["resnet18", "darknet53", "mobilenetv3_small_100"])
def test_only_a_resnet_of_bottlenecks_can_be(name):
    with torch.device("meta"), pytest.raises(UsageError, match=f"'{name}' cannot be deformable"):
        Backbone(name, deformable_interval=1)
