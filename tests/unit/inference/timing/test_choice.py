from pathlib import Path

import pytest

from yolact.errors import CheckpointError, UsageError
from yolact.inference.predictor import Predictor
from yolact.inference.timing.choice import Choice, combinations, load_all


def names(columns):
    return [column.name for column in load_all(columns)[0]]


def test_lists_are_multiplied_and_what_does_not_exist_is_left_out(tiny_run):
    columns = combinations(
        [str(tiny_run)],
        ["reference", "torch", "auto"],
        ["float32", "int8"],
        [1, 2],
        like=Choice("", device="cpu"),
    )
    assert len(columns) == 12
    loaded, left_out = load_all(columns)
    assert [one.name for one in loaded] == [
        "reference batch 1", "reference batch 2", "torch batch 1", "torch batch 2",
    ]  # fmt: skip
    # auto means torch, which is there; batches share one model
    assert loaded[2].model is loaded[3].model
    assert [one.choice.batch_size for one in loaded] == [1, 2, 1, 2]
    assert len(left_out) == 3
    assert left_out[0].startswith(f"{tiny_run} reference int8 is left out: ")


def test_a_column_is_called_by_what_tells_it_from_the_others(tiny_run):
    alone = Choice(str(tiny_run), device="cpu")
    nano = Choice("yolact-nano", device="cpu", untrained=True)
    assert names([alone]) == ["tiny"]
    assert names([alone, nano]) == ["tiny", "yolact-nano"]
    by_file = Choice(str(tiny_run / "best.safetensors"), "reference", device="cpu")
    assert names([alone, by_file]) == ["tiny torch", "best.safetensors reference"]


def test_the_same_name_in_two_folders_is_told_by_its_folder(tiny_run, tmp_path):
    Path(tmp_path / "tiny").symlink_to(tiny_run)
    both = [Choice(str(folder), device="cpu") for folder in (tiny_run, tmp_path / "tiny")]
    assert names(both) == [str(tiny_run), str(tmp_path / "tiny")]


def test_optimized_is_a_column_of_its_own(tiny_run, monkeypatch):
    monkeypatch.setattr(Predictor, "optimize", lambda model, *, precision: model)
    both = [Choice(str(tiny_run), name, device="cpu") for name in ("torch", "optimized")]
    assert names(both) == ["torch", "optimized"]


def test_refusals(tiny_run):
    with pytest.raises(UsageError, match="int8"):
        load_all([Choice(str(tiny_run), precision="int8", device="cpu")])
    with pytest.raises(CheckpointError, match="no model nobody"):
        load_all([Choice(str(tiny_run), device="cpu"), Choice("nobody", device="cpu")])
