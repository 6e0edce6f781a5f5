"""Box formats and overlaps. A box is x1 y1 x2 y2 unless its name says cxcywh."""

import torch
from torch import Tensor


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """Turn centre and size into corners, ``(..., 4)`` each.

    The far corner is the near one plus the size, not centre plus half the size: the original
    computes it so, and it decides the last bit (spec 1.10).
    """
    near = boxes[..., :2] - boxes[..., 2:] / 2
    return torch.cat((near, near + boxes[..., 2:]), dim=-1)


def xyxy_to_cxcywh(boxes: Tensor) -> Tensor:
    """Turn corners into centre and size, ``(..., 4)`` each."""
    return torch.cat(
        ((boxes[..., 2:] + boxes[..., :2]) / 2, boxes[..., 2:] - boxes[..., :2]), dim=-1
    )


def box_area(boxes: Tensor) -> Tensor:
    """Area of boxes ``(..., 4)`` -> ``(...)``; a box of zero width has none."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def box_intersection(a: Tensor, b: Tensor) -> Tensor:
    """Area shared by every pair of ``a`` ``(..., N, 4)`` and ``b`` ``(..., M, 4)``, ``(..., N, M)``."""
    near = torch.maximum(a[..., :, None, :2], b[..., None, :, :2])
    far = torch.minimum(a[..., :, None, 2:], b[..., None, :, 2:])
    size = (far - near).clamp(min=0)
    return size[..., 0] * size[..., 1]


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of every pair, ``(..., N, 4)`` and ``(..., M, 4)`` -> ``(..., N, M)``.

    Two boxes without area have an IoU of 0/0: NaN, as in the original (spec 4.1); callers that
    compare decide what NaN means.
    """
    intersection = box_intersection(a, b)
    return intersection / (box_area(a)[..., :, None] + box_area(b)[..., None, :] - intersection)
