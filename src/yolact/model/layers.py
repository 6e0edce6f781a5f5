"""The two kinds of convolution block that FPN, protonet and head are made of."""

from typing import Literal

from torch import nn

BlockKind = Literal["plain", "light"]


def conv3x3(in_channels: int, out_channels: int, kind: BlockKind, *, stride: int = 1) -> nn.Module:
    """A 3x3 convolution without activation.

    ``plain`` is a dense convolution with bias, as in the paper. ``light`` has batch norm, so that
    it learns fast from random weights.
    """
    if kind == "plain":
        return nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1)
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
    )
