"""How many operations a network needs for a picture, counted on its layers, not measured."""

from math import prod
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from yolact.config.model import ModelConfig
from yolact.model.build import build_yolact


def network_flops(config: ModelConfig) -> int:
    """Operations of the network for one picture; a multiplication with its addition is two.

    Convolutions and matrix products count: the rest is a hundredth of it. A deformable convolution
    counts as the plain one of its geometry, beside the one that says where it looks. Nothing is
    computed, and no weights are made.
    """
    with torch.device("meta"):
        network = build_yolact(config).eval()
        image = torch.empty(1, 3, *config.image_size)
    known = {torch.ops.torchvision.deform_conv2d: _deform_conv}
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=known) as counter:
        network(image)
    return int(counter.get_total_flops())


def _deform_conv(
    _image: tuple[int, ...], weight: tuple[int, ...], *_: Any, out_shape: tuple[int, ...], **__: Any
) -> int:
    """Of tensors given as shapes: each output is a sum over a kernel."""
    return 2 * prod(out_shape) * prod(weight[1:])
