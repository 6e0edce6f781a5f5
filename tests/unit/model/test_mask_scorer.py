import pytest
import torch
from torch.nn import functional as F

from yolact.model.mask_scorer import MaskScorer


@pytest.fixture
def scorer():
    torch.manual_seed(0)
    return MaskScorer(5).eval()


def blobs(number, height, width):
    """Soft masks that are zero towards the right and the bottom."""
    masks = torch.zeros(number, height, width)
    masks[:, : height // 2, : width // 2] = torch.rand(number, height // 2, width // 2)
    return masks


def test_layers(scorer):
    """Sizes 138, 68, 33, 16, 7, 3; no padding; rectified to the end; the largest value counts."""
    masks = blobs(2, 138, 138)
    x = masks[:, None]
    for conv, size in zip(scorer.convs, (68, 33, 16, 7, 3), strict=True):
        x = F.relu(F.conv2d(x, conv.weight, conv.bias, stride=2))
        assert x.shape[-2:] == (size, size)
    x = F.relu(F.conv2d(x, scorer.project.weight, scorer.project.bias))
    torch.testing.assert_close(scorer(masks), F.max_pool2d(x, 3)[..., 0, 0])


@pytest.mark.parametrize("size", [(8, 8), (24, 32), (62, 100), (176, 100)])
def test_masks_of_every_size(scorer, size):
    with torch.inference_mode():
        ious = scorer(blobs(3, *size))
    assert ious.shape == (3, 5)
    assert (ious >= 0).all()


def test_small_masks_are_continued_with_zeros(scorer):
    small = blobs(2, 40, 24)
    large = F.pad(small, (0, 63 - 24, 0, 63 - 40))
    with torch.inference_mode():
        torch.testing.assert_close(scorer(small), scorer(large))


def test_no_masks_still_reach_every_weight(scorer):
    scorer(torch.zeros(0, 70, 70)).sum().backward()
    for parameter in scorer.parameters():
        assert parameter.grad is not None
        assert not parameter.grad.any()
