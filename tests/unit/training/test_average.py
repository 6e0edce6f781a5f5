import pytest
import torch
from torch import nn

from yolact.training.average import MovingAverage, Statistics


def network():
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))


def test_it_follows_weights_and_statistics_with_a_decay_that_warms_up():
    model = network()
    average = MovingAverage(model, 0.5)
    expected = {}
    for step in range(20):
        with torch.no_grad():
            for value in (*model.parameters(), model[1].running_mean):
                value.normal_()
        average.update_parameters(model)
        decay = min(0.5, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            before = expected.get(name, value)
            expected[name] = value.clone() if step == 0 else decay * before + (1 - decay) * value
    for name in ("0.weight", "1.bias", "1.running_mean"):
        torch.testing.assert_close(average.network.state_dict()[name], expected[name])
    assert not any(p.requires_grad for p in average.parameters())


def test_statistics_are_put_back():
    model = network().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    statistics = Statistics(model)
    model(torch.full((2, 3, 4, 4), torch.inf))
    assert model[1].running_mean.isnan().any()
    statistics.restore()
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("decay", [0.9, 0.999])
def test_the_first_update_takes_everything(decay):
    model = network()
    average = MovingAverage(model, decay)
    with torch.no_grad():
        model[0].weight += 1
    average.update_parameters(model)
    assert torch.equal(average.network[0].weight, model[0].weight)
