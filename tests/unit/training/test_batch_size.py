import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from yolact.config.presets import preset
from yolact.data.formats.read import load_split
from yolact.errors import UsageError
from yolact.model.build import build_yolact
from yolact.training import batch_size
from yolact.training.batch_size import largest_batch_size, largest_that_fits
from yolact.training.processes import Processes


@given(st.integers(0, 300), st.integers(1, 300))
def test_the_largest_is_found_and_little_more_is_tried(capacity, limit):
    tried = []

    def fits(number):
        tried.append(number)
        return number <= capacity

    assert largest_that_fits(fits, limit) == min(capacity, limit)
    assert all(1 <= number <= limit for number in tried)
    assert max(tried) <= max(2 * capacity, 1)  # nothing hopeless
    assert len(tried) == len(set(tried)) <= 20


@pytest.fixture(scope="module")
def setting(tiny_data):
    data = load_split(tiny_data, "train")
    recipe = preset("yolact-nano", data.class_names).resized((64, 64))
    torch.manual_seed(0)
    return build_yolact(recipe.model), recipe, data


def short_of_memory(monkeypatch, capacity):
    """A machine on which steps with more images than ``capacity`` run out of memory."""
    real, sizes = batch_size._Trial._step, []

    def step(self, images):
        sizes.append(images)
        if images > capacity:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        real(self, images)

    monkeypatch.setattr(batch_size._Trial, "_step", step)
    return sizes


def test_real_steps_are_tried_and_leave_the_network_alone(setting, monkeypatch, capfd):
    network, recipe, data = setting
    sizes = short_of_memory(monkeypatch, 3)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert largest_batch_size(network, recipe, data, Processes(), torch.device("cpu")) == 3
    assert sizes == [1, 2, 4, 3]
    assert "batch size 3" in capfd.readouterr().err
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_batch_is_that_of_all_processes(setting, monkeypatch):
    network, recipe, data = setting
    short_of_memory(monkeypatch, 1)
    processes = Processes(devices=2, nodes=3)
    assert largest_batch_size(network, recipe, data, processes, torch.device("cpu")) == 6


def test_not_even_one(setting, monkeypatch):
    network, recipe, data = setting
    short_of_memory(monkeypatch, 0)
    with pytest.raises(UsageError, match="not even one image fits"):
        largest_batch_size(network, recipe, data, Processes(), torch.device("cpu"))


def test_the_worst_case_is_tried(setting):
    _, recipe, data = setting
    sample = batch_size._fullest(recipe, data)
    numbers = sorted(len(record.annotations) for record in data.records)
    assert numbers[len(numbers) // 2] <= len(sample.target.labels)
