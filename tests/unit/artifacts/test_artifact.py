import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from damage import with_wrong_bytes
from yolact.artifacts import artifact
from yolact.artifacts.artifact import (
    load_weights,
    network_from,
    read_artifact,
    write_artifact,
)
from yolact.artifacts.metadata import FORMAT_VERSION, ArtifactMetadata
from yolact.config.detection import DetectionConfig
from yolact.config.model import AnchorConfig, ModelConfig
from yolact.errors import CheckpointError
from yolact.model.build import build_yolact

# Nothing here is a default, so that nothing can be lost unnoticed.
METADATA = ArtifactMetadata(
    model=ModelConfig(
        class_names=("bolt", "Mutter ä"),
        backbone="resnet18",
        image_size=(96, 160),
        mean=(1.0, 2.5, 3.0),
        std=(4.0, 5.0, 6.0),
        anchors=AnchorConfig(
            scales=((8.0, 9.0), (16.0, 17.0), (32.0, 33.0), (64.0, 65.0), (128.0, 129.0)),
            ratios=(1.0, 3.0),
            square=True,
        ),
        fpn_channels=16,
        protonet_channels=17,
        protonet_depth=2,
        head_channels=18,
        num_prototypes=5,
        block="light",
    ),
    detection=DetectionConfig(
        score_threshold=0.25, iou_threshold=0.75, top_k=50, max_detections=20
    ),
    category_ids=(3, 90),
    provenance={"steps": 1000, "metrics": {"ap": 0.5, "note": None}, "list": [1, "zwei"]},
)
WEIGHTS = {
    "a.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3),
    "a.count": torch.tensor(7),
    "b": torch.tensor([1.5, -2], dtype=torch.float16),
}


def load_model(path):
    weights, metadata = read_artifact(path)
    return network_from(metadata.model, weights, str(path)), metadata


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "model.safetensors"
    write_artifact(path, WEIGHTS, METADATA)
    return path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def assert_equal_weights(found, expected):
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_round_trip(path):
    weights, metadata = read_artifact(path)
    assert metadata == METADATA
    assert isinstance(metadata.model.anchors.scales[0], tuple)
    assert_equal_weights(weights, WEIGHTS)


def test_round_trip_of_what_is_left_out(tmp_path):
    metadata = ArtifactMetadata(ModelConfig(class_names=("a",)))
    write_artifact(tmp_path / "m.safetensors", {}, metadata)
    assert read_artifact(tmp_path / "m.safetensors") == ({}, metadata)


def test_any_safetensors_reader_can_read_it(path):
    assert_equal_weights(load_file(path), WEIGHTS)


def test_tensors_of_any_layout_can_be_written(tmp_path):
    wide = torch.arange(6.0).reshape(2, 3).requires_grad_()
    write_artifact(tmp_path / "m.safetensors", {"transposed": wide.T}, METADATA)
    weights, _ = read_artifact(tmp_path / "m.safetensors")
    assert weights["transposed"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert not weights["transposed"].requires_grad


def test_what_was_read_does_not_hold_the_file(path):
    weights, _ = read_artifact(path)
    write_artifact(path, {"other": torch.zeros(1000)}, METADATA)
    assert_equal_weights(weights, WEIGHTS)


def test_a_failure_while_writing_leaves_the_old_file(path, monkeypatch):
    before = path.read_bytes()

    def fail(weights, temporary, metadata):
        Path(temporary).write_bytes(b"half a file")
        raise OSError("No space left on device")

    monkeypatch.setattr(artifact, "save_file", fail)
    with pytest.raises(OSError, match="No space left"):
        write_artifact(path, {"new": torch.zeros(3)}, METADATA)
    assert path.read_bytes() == before
    assert names(path.parent) == ["model.safetensors"]


def test_missing_file(tmp_path):
    for path in (tmp_path / "gone.safetensors", tmp_path):
        with pytest.raises(CheckpointError, match=f"there is no file {path}"):
            read_artifact(path)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_truncated_files(path, share):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(CheckpointError, match=r"model\.safetensors is not a readable safetensors"):
        read_artifact(path)


def test_files_of_another_kind(tmp_path):
    torch.save(WEIGHTS, tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_text("no weights")
    for name in ("a.safetensors", "b.safetensors"):
        with pytest.raises(CheckpointError, match=f"{name} is not a readable safetensors file"):
            read_artifact(tmp_path / name)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_safetensors_of_other_programs(tmp_path, metadata):
    save_file(WEIGHTS, tmp_path / "a.safetensors", metadata=metadata)
    with pytest.raises(CheckpointError, match="holds tensors but no yolact model record"):
        read_artifact(tmp_path / "a.safetensors")


def changed(**changes):
    """The record with some keys changed or, if None, gone."""
    record = {**json.loads(METADATA.to_json()), **changes}
    return {key: value for key, value in record.items() if value is not None}


def changed_model(**changes):
    return changed(model={**json.loads(METADATA.to_json())["model"], **changes})


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (changed(format=FORMAT_VERSION + 1), "has format 2, this version reads 1"),
        (changed(format="1"), "has format 1, this version reads 1"),
        (changed(format=None), "has a broken metadata record"),
        (changed(model=None), "has a broken metadata record"),
        (changed(model="yolact"), "has a broken metadata record"),
        (changed(detection=[]), "has a broken metadata record"),
        (changed(detection={"score_threshold": 2}), "record: score_threshold must lie in"),
        (changed(category_ids=3), "has a broken metadata record"),
        (changed(licence="MIT", author="me"), r"unknown metadata: \['author', 'licence'\]"),
        (changed_model(depth=3), "record: .* unexpected keyword argument 'depth'"),
        (changed_model(class_names=[]), "record: class_names must be a non-empty list"),
        (changed_model(image_size=[8, 8]), "record: an input of 8x8 is too small"),
        (changed_model(anchors={"sizes": []}), "has a broken metadata record"),
        (changed_model(anchors=None), "has a broken metadata record"),
        ([], "has a broken metadata record"),
        (None, "has a broken metadata record"),
        (7, "has a broken metadata record"),
    ],
)
def test_records_that_make_no_sense(tmp_path, record, message):
    path = tmp_path / "a.safetensors"
    save_file(WEIGHTS, path, metadata={"yolact": json.dumps(record)})
    with pytest.raises(CheckpointError, match=rf"a\.safetensors .*{message}"):
        read_artifact(path)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000])
def test_records_that_are_no_json(tmp_path, text):
    path = tmp_path / "a.safetensors"
    save_file(WEIGHTS, path, metadata={"yolact": text})
    with pytest.raises(CheckpointError, match="has a broken metadata record"):
        read_artifact(path)


def test_damaged_files_raise_only_checkpoint_errors(path):
    rng = np.random.default_rng(0)
    whole = path.read_bytes()
    for _ in range(300):
        path.write_bytes(with_wrong_bytes(whole, rng, 3))
        try:
            read_artifact(path)
        except CheckpointError as error:
            assert str(path) in str(error)  # noqa: PT017 - damage to a number goes unnoticed


# --- Models ---------------------------------------------------------------------------------------

SMALL = replace(METADATA, model=replace(METADATA.model, image_size=(64, 64)))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_yolact(SMALL.model)


def test_load_model(network, tmp_path):
    write_artifact(tmp_path / "m.safetensors", network.state_dict(), SMALL)
    model, metadata = load_model(tmp_path / "m.safetensors")
    assert metadata == SMALL
    assert not model.training
    assert_equal_weights(model.state_dict(), network.state_dict())


def test_missing_tensors(network):
    weights = dict(network.state_dict())
    del weights["semantic_head.bias"]
    with pytest.raises(CheckpointError, match=r"^m\.st does not fit .* lacks semantic_head\.bias"):
        load_weights(network, weights, "m.st")


def test_tensors_in_excess(network):
    weights = {**network.state_dict(), "zzz": torch.zeros(1), "aaa": torch.zeros(1)}
    with pytest.raises(CheckpointError, match=r"^m\.st does not fit .* has aaa, zzz in excess"):
        load_weights(network, weights, "m.st")


@pytest.mark.parametrize("shape", [(3,), (2, 1), ()])
def test_misshapen_tensors(network, shape):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    weights = {**before, "semantic_head.bias": torch.zeros(shape)}
    with pytest.raises(CheckpointError) as caught:
        load_weights(network, weights, "m.st")
    assert str(caught.value) == (
        f"m.st does not fit this model: semantic_head.bias is {shape}, (2,) is needed."
    )
    assert_equal_weights(network.state_dict(), before)


def test_an_artifact_whose_weights_belong_to_another_model(network, tmp_path):
    other = replace(SMALL, model=replace(SMALL.model, class_names=("a", "b", "c")))
    write_artifact(tmp_path / "m.safetensors", network.state_dict(), other)
    with pytest.raises(CheckpointError, match=r"m\.safetensors does not fit this model"):
        load_model(tmp_path / "m.safetensors")


def test_a_backbone_that_timm_does_not_know(tmp_path):
    model = replace(SMALL.model, backbone="resnet5000")
    write_artifact(tmp_path / "m.safetensors", {}, replace(SMALL, model=model))
    with pytest.raises(CheckpointError, match="cannot be built: timm has no backbone"):
        load_model(tmp_path / "m.safetensors")


@pytest.mark.parametrize("backbone", ["resnet18", "resnetblur18"])
def test_a_loaded_network_computes_the_same(tmp_path, backbone):
    """Also where the backbone keeps filters that no file holds, as the blurring one does."""
    metadata = replace(SMALL, model=replace(SMALL.model, backbone=backbone))
    torch.manual_seed(1)
    network = build_yolact(metadata.model).eval()
    half = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in network.state_dict().items()
    }
    network.load_state_dict(half)
    write_artifact(tmp_path / "m.safetensors", half, metadata)
    loaded, _ = load_model(tmp_path / "m.safetensors")
    assert torch.equal(loaded.anchors, network.anchors)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected, found = network(images), loaded(images)
    assert found.class_logits.dtype == torch.float32
    torch.testing.assert_close(found.class_logits, expected.class_logits)
    torch.testing.assert_close(found.prototypes, expected.prototypes)
    assert all(parameter.requires_grad for parameter in loaded.parameters())
