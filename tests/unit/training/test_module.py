import torch
from torch import nn

from yolact.training.module import freeze_batch_norms


def test_frozen_batch_norm_keeps_statistics_and_weights():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU())
    model.train()
    freeze_batch_norms(model)
    before = {name: value.clone() for name, value in model[1].state_dict().items()}
    model(torch.randn(2, 3, 5, 5) * 9 + 4).sum().backward()
    assert model[0].weight.grad is not None
    assert all(parameter.grad is None for parameter in model[1].parameters())
    for name, value in model[1].state_dict().items():
        assert torch.equal(value, before[name])
