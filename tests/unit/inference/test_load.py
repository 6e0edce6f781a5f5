import pytest
import torch

import yolact
from yolact.errors import CheckpointError, UsageError
from yolact.inference.load import choose_device, untrained


def test_a_preset_with_original_weights(formula, tmp_path):
    path = tmp_path / "any_name.pth"
    torch.save(formula.checkpoint("yolact_resnet50"), path)
    model = yolact.load("yolact-resnet50", weights=path, device="cpu")
    assert model.names[0] == "person"
    assert len(model.names) == 80
    with pytest.raises(CheckpointError, match="does not fit this model"):
        yolact.load("yolact-nano", weights=path)


def test_artifact_by_file_and_by_folder(tiny_run):
    by_folder, by_file = yolact.load(tiny_run), yolact.load(tiny_run / "best.safetensors")
    assert by_folder.metadata == by_file.metadata
    as_weights = yolact.load("yolact-nano", weights=tiny_run / "best.safetensors")
    assert as_weights.metadata == by_file.metadata


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere", "there is no model nowhere"),
        ("yolact-nano", "needs weights"),
        ("yolact-base", r"could not be fetched \(HF_HUB_OFFLINE is set\)"),
        ("yolact-im400", "its weights were never published"),
        ("nothing.pth", "there is no file"),
        ("nothing.safetensors", "there is no file"),
    ],
)
def test_what_is_no_model(name, said):
    with pytest.raises(CheckpointError, match=said):
        yolact.load(name)


def test_a_run_without_a_validation(tmp_path):
    with pytest.raises(CheckpointError, match="no validation has ended yet"):
        yolact.load(tmp_path)


def test_devices():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type in {"cpu", "cuda", "mps"}
    for name in ("warp", "cuda:99"):
        with pytest.raises(UsageError, match=f"no device '{name}'"):
            choose_device(name)


def test_random_weights_are_the_same_each_time_and_leave_chance_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, two = (
        untrained("yolact-nano", device="cpu").runtime.network.state_dict() for _ in range(2)
    )
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(one[key], two[key]) for key in one)
    with pytest.raises(UsageError, match="no model is called"):
        untrained("nobody")
