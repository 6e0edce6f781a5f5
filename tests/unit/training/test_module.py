import pytest
import torch
from torch import nn

from yolact.structures import Batch
from yolact.training.module import frozen_modules, random_seed, split_batch


def network():
    part = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU())
    return nn.Sequential(part, nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))


def frozen(model, parts, *, batch_norm):
    """Names of the tensors that a step leaves alone."""
    model.train()
    for module in frozen_modules(model, parts, batch_norm=batch_norm):
        module.requires_grad_(False)
        module.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model(torch.randn(2, 3, 5, 5) * 9 + 4).square().sum().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter += 1.0
    after = model.state_dict()
    return {name for name in before if torch.equal(before[name], after[name])}


def test_nothing_frozen():
    assert frozen(network(), (), batch_norm=False) == set()


def test_frozen_batch_norm_keeps_statistics_and_weights():
    model = network()
    norms = {n for n in model.state_dict() if n.startswith(("0.1.", "2."))}
    assert len(norms) == 10
    assert frozen(model, (), batch_norm=True) == norms


def test_a_frozen_part_keeps_everything():
    model = network()
    part = {n for n in model.state_dict() if n.startswith("0.")}
    assert frozen(model, ("0",), batch_norm=False) == part


@pytest.mark.parametrize(
    ("images", "parts", "sizes"),
    [(8, 1, [8]), (8, 4, [2, 2, 2, 2]), (5, 2, [3, 2]), (5, 4, [2, 2, 1]), (2, 4, [1, 1])],
)
def test_parts_hold_every_image_once_in_order(images, parts, sizes):
    ids = tuple(range(10, 10 + images))
    batch = Batch(torch.arange(images)[:, None], tuple("abcdefgh"[:images]), ids)
    cut = split_batch(batch, parts)
    assert [len(part.images) for part in cut] == sizes
    assert torch.equal(torch.cat([part.images for part in cut]), batch.images)
    assert sum((part.targets for part in cut), ()) == batch.targets
    assert sum((part.image_ids for part in cut), ()) == ids


def test_every_step_has_random_numbers_of_its_own():
    seeds = {random_seed(seed, step, rank) for seed in (0, 1) for step in (0, 1) for rank in (0, 1)}
    assert len(seeds) == 8
    assert random_seed(3, 4, 5) == random_seed(3, 4, 5)
    torch.manual_seed(max(seeds))
