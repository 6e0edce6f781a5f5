"""Weights of one model as the start of another, row by row."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from yolact.artifacts.original_weights import read_backbone_weights
from yolact.artifacts.transfer import load_backbone, transfer_weights
from yolact.config.model import ModelConfig
from yolact.errors import CheckpointError
from yolact.model.build import build_yolact

OLD = ("disc", "ring", "bar")
SMALL = ModelConfig(
    class_names=OLD,
    backbone="resnet18",
    image_size=(64, 64),
    fpn_channels=8,
    protonet_channels=8,
    protonet_depth=1,
    head_channels=8,
    num_prototypes=4,
)
CLASS_TENSORS = ["head.classes.weight", "head.classes.bias"] + [
    f"{part}.{kind}"
    for part in ("semantic_head", "mask_scorer.project")
    for kind in ("weight", "bias")
]


def model(names):
    """With a re-scoring net's last layer; every tensor is random, biases too."""
    network = build_yolact(replace(SMALL, class_names=names))
    network.mask_scorer = nn.ModuleDict({"project": nn.Conv2d(4, len(names), 1)})
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    return network


@pytest.fixture(scope="module")
def old():
    torch.manual_seed(0)
    return model(OLD).state_dict()


def row(tensor, name, label, anchor, num_classes):
    """What belongs to a label (-1: background) in a class-dependent tensor."""
    if not name.startswith("head."):
        return tensor[label]
    return tensor[anchor * (num_classes + 1) + label + 1]


@pytest.mark.parametrize(
    ("names", "unknown"),
    [
        (OLD, False),
        (("bar", "disc", "ring"), False),
        (("ring",), False),
        (("ring", "cup", "disc", "rope"), True),
        (("one", "two", "three"), True),
    ],
)
def test_known_classes_keep_their_rows_and_others_their_start(old, names, unknown):
    torch.manual_seed(1)
    network = model(names)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    listed = transfer_weights(network, old, OLD, names, "x")
    assert sorted(listed) == (sorted(CLASS_TENSORS) if unknown else [])
    after = network.state_dict()
    for key, tensor in after.items():
        if key not in CLASS_TENSORS:
            assert torch.equal(tensor, old[key])
            continue
        is_head = key.startswith("head.")
        for label in range(-1 if is_head else 0, len(names)):
            for anchor in range(3 if is_head else 1):
                known = label < 0 or names[label] in OLD
                source = old if known else before
                place = -1 if label < 0 else OLD.index(names[label]) if known else label
                count = len(OLD) if known else len(names)
                expected = row(source[key], key, place, anchor, count)
                assert torch.equal(row(tensor, key, label, anchor, len(names)), expected)


def test_the_given_weights_stay_as_they_were(old):
    copy = {name: tensor.clone() for name, tensor in old.items()}
    network = model(("ring", "cup"))
    transfer_weights(network, old, OLD, ("ring", "cup"), "x")
    nn.init.zeros_(network.fpn.laterals[0].weight)
    assert all(torch.equal(old[name], copy[name]) for name in old)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("head.classes.bias"), "x does not fit this model: it lacks head.classes"),
        (lambda w: w.pop("fpn.laterals.0.bias"), "it lacks fpn.laterals.0.bias"),
        (lambda w: w.update(more=torch.zeros(1)), "it has more in excess"),
        (
            lambda w: w.update({"protonet.project.bias": torch.zeros(9)}),
            r"protonet.project.bias is \(9,\), \(4,\) is needed",
        ),
        (
            lambda w: w.update({"head.classes.weight": torch.zeros(8, 8, 1, 1)}),
            r"head.classes.weight is \(8, 8, 1, 1\), \(9, 8, 3, 3\) is needed",
        ),
    ],
)
def test_another_architecture_is_refused(old, change, message):
    weights = dict(old)
    change(weights)
    with pytest.raises(CheckpointError, match=message):
        transfer_weights(model(("a", "b")), weights, OLD, ("a", "b"), "x")


def imagenet_file(network, path, *, leave_out=()):
    """A file in torchvision's names, as the original starts from: old, thus without counters."""
    state = {}
    for name, tensor in network.state_dict().items():
        key = name.removeprefix("backbone.body.")
        if key == name or key.endswith("num_batches_tracked") or key.startswith(leave_out):
            continue
        torch.manual_seed(len(state))
        state[key] = nn.Parameter(torch.randn(tensor.shape))
    state |= {"fc.weight": torch.zeros(5, 512), "fc.bias": torch.zeros(5)}
    torch.save(state, path, _use_new_zipfile_serialization=False)
    return state


def test_backbone_from_a_file_of_the_original(tmp_path):
    network = build_yolact(SMALL)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    written = imagenet_file(network, tmp_path / "resnet.pth")
    assert {"conv1.weight", "layer1.0.bn1.running_var", "layer4.1.conv2.weight"} < set(written)
    assert load_backbone(network, read_backbone_weights(tmp_path / "resnet.pth"), "x") == []
    for name, tensor in network.state_dict().items():
        key = name.removeprefix("backbone.body.")
        expected = before[name] if key not in written else written[key].detach()
        assert torch.equal(tensor, expected)


def test_what_a_backbone_file_lacks_is_listed(tmp_path):
    network = build_yolact(SMALL)
    before = network.backbone.body.layer2[0].conv1.weight.clone()
    imagenet_file(network, tmp_path / "resnet.pth", leave_out=("layer2.0.conv1", "layer3.1.bn2"))
    missing = load_backbone(network, read_backbone_weights(tmp_path / "resnet.pth"), "x")
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    assert missing == ["backbone.body.layer2.0.conv1.weight"] + [
        f"backbone.body.layer3.1.bn2.{kind}" for kind in norm
    ]
    assert torch.equal(network.backbone.body.layer2[0].conv1.weight, before)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({}, "nothing in x.pth fits this backbone"),
        ({"fpn.laterals.0.bias": torch.zeros(8)}, "nothing in x.pth fits this backbone"),
        (
            {"backbone.body.conv1.weight": torch.zeros(32, 3, 3, 3)},
            r"conv1.weight is \(32, 3, 3, 3\), \(64, 3, 7, 7\) is needed",
        ),
    ],
)
def test_a_backbone_of_another_kind_is_refused(weights, message):
    with pytest.raises(CheckpointError, match=message):
        load_backbone(build_yolact(SMALL), weights, "x.pth")


def test_a_broken_backbone_file(tmp_path):
    (tmp_path / "x.pth").write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match=r"x\.pth is not a readable checkpoint"):
        read_backbone_weights(tmp_path / "x.pth")


def test_the_published_backbones_are_complete(formula, tmp_path):
    """Every backbone key of a published ResNet-50 is found under the name it has in such a file."""
    layout = [k for k in formula.layouts["yolact_resnet50"] if k.startswith("backbone.")]
    keys = [k.removeprefix("backbone.") for k in layout]
    keys = [f"layer{int(k[7]) + 1}{k[8:]}" if k.startswith("layers.") else k for k in keys]
    torch.save(dict.fromkeys(keys, torch.zeros(1)), tmp_path / "resnet50-19c8e357.pth")
    found = read_backbone_weights(tmp_path / "resnet50-19c8e357.pth")
    assert len(found) == len(layout) == 318
    own = build_yolact(replace(SMALL, backbone="resnet50")).state_dict()
    assert set(found) == {name for name in own if name.startswith("backbone.")}
