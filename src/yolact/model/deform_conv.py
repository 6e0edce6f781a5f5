"""Modulated deformable convolutions (DCNv2) in the bottlenecks of a ResNet (spec 1.5)."""

from typing import Any

import torch
from timm.models.resnet import Bottleneck
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

_TAPS = 9


class DeformableConv(nn.Module):
    """A convolution that learns where each of its taps looks, and how much it counts.

    A plain convolution of the same geometry predicts three values per tap and place. For tap t of
    nine, counted row by row, channel 2t is the offset down and 2t + 1 the offset to the right, in
    cells of the input; channel 18 + t passes a sigmoid and multiplies the sample. Samples are
    bilinear, with zeros outside.
    """

    def __init__(self, replaced: nn.Conv2d) -> None:
        """Take the place and the weights of ``replaced``, a 3x3 convolution without bias.

        At first every offset is zero and every modulation a half, so that the layer starts as half
        of the convolution it replaces.
        """
        super().__init__()
        self.weight = replaced.weight
        self.bias = nn.Parameter(replaced.weight.new_zeros(replaced.out_channels))
        self.geometry: dict[str, Any] = {
            "stride": replaced.stride,
            "padding": replaced.padding,
            "dilation": replaced.dilation,
        }
        self.conv_offset_mask = nn.Conv2d(replaced.in_channels, 3 * _TAPS, 3, **self.geometry)
        for parameter in self.conv_offset_mask.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, h, w) -> (B, out, h', w'), the sizes of the convolution it stands for."""
        offsets, modulation = self.conv_offset_mask(x).split((2 * _TAPS, _TAPS), dim=1)
        # In mixed precision the others come as halves, which there is no kernel for everywhere.
        dtype = self.weight.dtype
        output: Tensor = deform_conv2d(
            x.to(dtype),
            offsets.to(dtype),
            self.weight,
            self.bias,
            **self.geometry,
            mask=torch.sigmoid(modulation).to(dtype),
        )
        return output


def deform_bottlenecks(resnet: nn.Module, interval: int) -> bool:
    """Make the 3x3 convolution of every ``interval``-th block deformable, in the last three stages.

    Args:
        resnet: As timm builds it; changed in place.
        interval: 1 for all blocks, 3 for blocks 0, 3, 6 … of each stage.

    Returns:
        Whether it could be done; if not, ``resnet`` has other blocks and is as it was.
    """
    blocks = [list(getattr(resnet, f"layer{stage}", ())) for stage in (2, 3, 4)]
    if not all(stage and all(isinstance(b, Bottleneck) for b in stage) for stage in blocks):
        return False
    for stage in blocks:
        for block in stage[::interval]:
            block.conv2 = DeformableConv(block.conv2)
    return True
