"""Box offsets relative to anchors: encoding and decoding together (spec 1.10, after SSD)."""

import torch
from torch import Tensor

from yolact.ops.boxes import xyxy_to_cxcywh

CENTER_VARIANCE = 0.1
SIZE_VARIANCE = 0.2


def encode_boxes(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Offsets that turn ``anchors`` into ``boxes``.

    Args:
        boxes: ``(..., 4)`` x1 y1 x2 y2 with positive width and height.
        anchors: ``(..., 4)`` cx cy w h in the same unit.

    Returns:
        ``(..., 4)``: shift of the centre in anchor sizes, and log of the size ratio, each divided
        by its variance.
    """
    target = xyxy_to_cxcywh(boxes)
    shift = (target[..., :2] - anchors[..., :2]) / (CENTER_VARIANCE * anchors[..., 2:])
    growth = torch.log(target[..., 2:] / anchors[..., 2:]) / SIZE_VARIANCE
    return torch.cat((shift, growth), dim=-1)


def decode_boxes(offsets: Tensor, anchors: Tensor) -> Tensor:
    """Inverse of :func:`encode_boxes`: ``(..., 4)`` x1 y1 x2 y2, not clipped.

    The far corner is the near one plus the size, not centre plus half the size as for anchors: the
    original computes both so, and it decides the last bit.
    """
    center = anchors[..., :2] + offsets[..., :2] * CENTER_VARIANCE * anchors[..., 2:]
    size = anchors[..., 2:] * torch.exp(offsets[..., 2:] * SIZE_VARIANCE)
    near = center - size / 2
    return torch.cat((near, near + size), dim=-1)
