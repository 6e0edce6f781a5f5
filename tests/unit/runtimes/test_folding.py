from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn

from yolact.config.presets import preset
from yolact.model.build import build_yolact
from yolact.runtimes.base import RAW_OUTPUTS
from yolact.runtimes.folding import fold_batch_norms, folded_copy, has_batch_norms


def network_with(**changes):
    config = replace(
        preset("yolact-nano").model, class_names=("a",), image_size=(64, 96), **changes
    )
    network = build_yolact(config).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 2)
            module.bias.data.uniform_(-0.1, 0.1)
    return network


def norms(network):
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"backbone": "resnet26", "deformable_interval": 2},
        {"backbone": "darknet53", "backbone_widths": None},
        {"backbone": "mobilenetv3_small_100", "backbone_widths": None},  # norms that activate
        {"backbone": "regnety_002", "backbone_widths": None},
    ],
)
def test_the_same_answers(changes):
    """In doubles, so that nothing but rounding of theirs lies between."""
    torch.manual_seed(0)
    network = network_with(**changes).double()
    levels = norms(network.head)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    folded = folded_copy(network)
    assert has_batch_norms(network)
    assert norms(folded) == levels
    assert not has_batch_norms(folded)
    images = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    with torch.inference_mode():
        expected, found = network(images), folded(images)
    for name in RAW_OUTPUTS:
        one, other = getattr(found, name), getattr(expected, name)
        assert (one - other).abs().max() <= 1e-9 * other.abs().max()
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_convolution_that_others_read_stays():
    class Twice(nn.Module):
        """Its convolution is read by the norm and added to what comes of it."""

        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, images):
            x = self.conv(images)
            return self.norm(x) + x

    network = network_with()
    network.backbone = Twice().eval()
    fold_batch_norms(network)
    assert isinstance(network.backbone.norm, nn.BatchNorm2d)


def test_what_cannot_be_traced_stays():
    class Untraceable(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, images):
            x = self.norm(self.conv(images))
            return x if x.sum() > 0 else -x

    network = network_with()
    network.backbone = Untraceable().eval()
    before = deepcopy(network.backbone.state_dict())
    fold_batch_norms(network)
    assert network.backbone.state_dict().keys() == before.keys()
    assert has_batch_norms(network)
