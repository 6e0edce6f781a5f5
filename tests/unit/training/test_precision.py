import pytest
import torch

from yolact.errors import UsageError
from yolact.training.precision import Precision, check_precision


@pytest.mark.parametrize("name", ["bf16", "fp16"])
def test_a_device_that_cannot(name):
    with pytest.raises(UsageError, match=f"the device 'meta' cannot train with precision {name}"):
        check_precision(name, torch.device("meta"), (550, 550))


def test_what_every_device_can():
    check_precision("fp32", torch.device("meta"), (32, 32))
    check_precision("bf16", torch.device("cpu"), (64, 65))


def test_a_scale_is_halved_down_to_one_and_given_back():
    precision = Precision("fp16", "cpu")
    weight = torch.nn.Parameter(torch.ones(1))
    precision.scale(weight.sum())
    tries = 0
    while precision.try_smaller_scale():
        tries += 1
    assert tries == 16
    assert precision.state_dict()["scale"] == 1
    precision.end_step(taken=False)
    assert precision.state_dict()["scale"] == 2**16


@pytest.mark.parametrize("name", ["fp32", "bf16"])
def test_without_a_scale_there_is_no_second_try(name):
    precision = Precision(name, "cpu")
    assert not precision.try_smaller_scale()
    precision.end_step(taken=False)
    assert precision.state_dict() == {}
    precision.load_state_dict(Precision("fp16", "cpu").state_dict())
