import os

import numpy as np
import pytest
import torch

from damage import with_wrong_bytes
from yolact.artifacts.original_weights import read_original_state, rename_original_weights
from yolact.errors import CheckpointError

NAMES = {
    "backbone.conv1.weight": "backbone.body.conv1.weight",
    "backbone.bn1.running_mean": "backbone.body.bn1.running_mean",
    "backbone.layers.0.0.conv1.weight": "backbone.body.layer1.0.conv1.weight",
    "backbone.layers.3.2.downsample.1.bias": "backbone.body.layer4.2.downsample.1.bias",
    "backbone.layers.1.0.conv2.bias": "backbone.body.layer2.0.conv2.bias",
    "backbone.layers.2.22.conv2.conv_offset_mask.weight": (
        "backbone.body.layer3.22.conv2.conv_offset_mask.weight"
    ),
    "backbone._preconv.0.weight": "backbone.body.stem_conv1.conv.weight",
    "backbone._preconv.1.running_var": "backbone.body.stem_conv1.bn.running_var",
    "backbone._preconv.1.num_batches_tracked": "backbone.body.stem_conv1.bn.num_batches_tracked",
    "backbone.layers.0.0.0.weight": "backbone.body.stages_0.conv_down.conv.weight",
    "backbone.layers.4.0.1.bias": "backbone.body.stages_4.conv_down.bn.bias",
    "backbone.layers.3.1.conv1.0.weight": "backbone.body.stages_3.blocks.0.conv1.conv.weight",
    "backbone.layers.3.8.conv2.1.weight": "backbone.body.stages_3.blocks.7.conv2.bn.weight",
    "fpn.lat_layers.0.weight": "fpn.laterals.2.weight",  # coarse first there, fine first here
    "fpn.lat_layers.2.bias": "fpn.laterals.0.bias",
    "fpn.pred_layers.0.weight": "fpn.outputs.2.weight",
    "fpn.pred_layers.1.weight": "fpn.outputs.1.weight",
    "fpn.downsample_layers.0.weight": "fpn.downsamples.0.weight",
    "fpn.downsample_layers.1.bias": "fpn.downsamples.1.bias",
    "proto_net.0.weight": "protonet.before.0.weight",
    "proto_net.4.bias": "protonet.before.2.bias",
    "proto_net.8.weight": "protonet.after.weight",
    "proto_net.10.bias": "protonet.project.bias",
    "prediction_layers.0.upfeature.0.weight": "head.tower.0.conv.weight",
    "prediction_layers.0.bbox_layer.bias": "head.boxes.bias",
    "prediction_layers.0.conf_layer.weight": "head.classes.weight",
    "prediction_layers.0.mask_layer.weight": "head.coefficients.weight",
    "semantic_seg_conv.bias": "semantic_head.bias",
    "maskiou_net.maskiou_net.0.weight": "mask_scorer.convs.0.weight",
    "maskiou_net.maskiou_net.8.bias": "mask_scorer.convs.4.bias",
    "maskiou_net.maskiou_net.10.bias": "mask_scorer.project.bias",
}
LEFT_OVERS = (
    "backbone.layer1.0.conv1.weight",
    "backbone.layer4.2.bn3.bias",
    "fpn.downsample_layers.2.weight",
    "fpn.downsample_layers.3.bias",
    "fpn.downsample_layers.10.bias",
)


def read_original(path):
    return rename_original_weights(read_original_state(path), str(path))


def state():
    return {key: torch.full((2,), float(i)) for i, key in enumerate(NAMES)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "yolact.pth"


@pytest.mark.parametrize("zipped", [True, False])
def test_reads_and_renames(path, zipped):
    torch.save(state(), path, _use_new_zipfile_serialization=zipped)
    weights = read_original(path)
    assert list(weights) == list(NAMES.values())
    for i, tensor in enumerate(weights.values()):
        assert tensor.tolist() == [i, i]


def test_left_overs_are_dropped():
    renamed = rename_original_weights(
        {**state(), **dict.fromkeys(LEFT_OVERS, torch.zeros(1))}, "x.pth"
    )
    assert set(renamed) == set(NAMES.values())


def test_unknown_keys_are_all_listed():
    unknown = {
        "maskiou_net.0.weight": torch.zeros(1),
        "prediction_layers.1.bbox_layer.weight": torch.zeros(1),
        "fpn.lat_layers.3.weight": torch.zeros(1),
        "proto_net.6.weight": torch.zeros(1),
        "module.backbone.conv1.weight": torch.zeros(1),
        "": torch.zeros(1),
    }
    with pytest.raises(CheckpointError) as caught:
        rename_original_weights({**state(), **unknown}, "x.pth")
    assert str(caught.value) == f"x.pth holds unknown keys: {', '.join(unknown)}."


def test_every_key_of_the_published_layout_is_known(formula):
    layout = formula.layouts["yolact_base"]
    renamed = rename_original_weights(dict.fromkeys(layout, torch.zeros(1)), "x.pth")
    dropped = [key for key in layout if key.startswith(LEFT_OVERS)]
    assert len(renamed) == len(layout) - len(dropped)  # no two share a name


class Hostile:
    """Unpickling this would run a command."""

    def __init__(self, victim):
        self.victim = victim

    def __reduce__(self):
        return os.mkdir, (str(self.victim),)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("hidden", [True, False])
def test_code_in_a_file_is_refused_and_not_executed(path, tmp_path, zipped, hidden):
    victim = tmp_path / "executed"
    hostile = Hostile(victim)
    content = {**state(), "semantic_seg_conv.weight": hostile} if hidden else hostile
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"yolact\.pth is not a readable checkpoint of plain"):
        read_original(path)
    assert not victim.exists()
    torch.load(path, weights_only=False)  # what the refusal has spared us
    assert victim.exists()


def test_missing_file(path, tmp_path):
    for missing in (path, tmp_path):
        with pytest.raises(CheckpointError, match=f"there is no file {missing}"):
            read_original(missing)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.6, 0.98])
def test_truncated_files(path, zipped, share):
    torch.save(state(), path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(CheckpointError, match=r"yolact\.pth is not a readable checkpoint"):
        read_original(path)


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04" + bytes(50), bytes(100)])
def test_files_of_another_kind(path, content):
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"yolact\.pth is not a readable checkpoint"):
        read_original(path)


@pytest.mark.parametrize(
    "content",
    [
        torch.zeros(3),
        [torch.zeros(3)],
        None,
        {"model": {"backbone.conv1.weight": torch.zeros(3)}},
        {"backbone.conv1.weight": 3},
        {5: torch.zeros(3)},
        {("a", "b"): torch.zeros(3)},
    ],
)
def test_content_of_another_type(path, content):
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"yolact\.pth is not a plain state dict of tensors"):
        read_original(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_damaged_files_raise_only_checkpoint_errors(path, zipped):
    rng = np.random.default_rng(0)
    torch.save(state(), path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for _ in range(200):
        path.write_bytes(with_wrong_bytes(whole, rng, 4))
        try:
            read_original(path)
        except CheckpointError as error:
            assert str(path) in str(error)  # noqa: PT017 - damage to a number goes unnoticed


@pytest.mark.parametrize("shape", [(), (1,)])
def test_counters_are_scalars(shape):
    state = {
        "backbone.bn1.running_var": torch.ones(64),
        "backbone.bn1.num_batches_tracked": torch.full(shape, 7),
    }
    renamed = rename_original_weights(state, "file")
    assert torch.equal(renamed["backbone.body.bn1.num_batches_tracked"], torch.tensor(7))
