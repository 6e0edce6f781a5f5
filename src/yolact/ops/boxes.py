"""Box formats and overlaps. A box is x1 y1 x2 y2 unless its name says cxcywh."""

import torch
from torch import Tensor

Region = tuple[float, float, float, float]
"""A part of the network's input: x1 y1 x2 y2 as fractions of it."""

WHOLE_INPUT: Region = (0.0, 0.0, 1.0, 1.0)


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """Turn centre and size into corners, ``(..., 4)`` each."""
    center, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat((center - half, center + half), dim=-1)


def xyxy_to_cxcywh(boxes: Tensor) -> Tensor:
    """Turn corners into centre and size, ``(..., 4)`` each."""
    return torch.cat(
        ((boxes[..., 2:] + boxes[..., :2]) / 2, boxes[..., 2:] - boxes[..., :2]), dim=-1
    )


def grow_boxes(boxes: Tensor, margin: float) -> Tensor:
    """Move every edge of boxes ``(N, 4)`` outwards by ``margin`` times the side across it.

    The corners may come in either order.
    """
    reach = (boxes[:, 2:] - boxes[:, :2]) * margin
    return torch.cat((boxes[:, :2] - reach, boxes[:, 2:] + reach), dim=1)


def box_area(boxes: Tensor) -> Tensor:
    """Area of boxes ``(..., 4)`` -> ``(...)``; a box of zero width has none."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def box_intersection(a: Tensor, b: Tensor) -> Tensor:
    """Area shared by every pair of ``a`` ``(..., N, 4)`` and ``b`` ``(..., M, 4)``, ``(..., N, M)``."""
    ax1, ay1, ax2, ay2 = a[..., :, None, :].unbind(-1)
    bx1, by1, bx2, by2 = b[..., None, :, :].unbind(-1)
    # In place: in training the pairs are millions, and fresh memory costs more than the sums.
    width = torch.minimum(ax2, bx2).sub_(torch.maximum(ax1, bx1)).clamp_(min=0)
    height = torch.minimum(ay2, by2).sub_(torch.maximum(ay1, by1)).clamp_(min=0)
    return width.mul_(height)


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of every pair, ``(..., N, 4)`` and ``(..., M, 4)`` -> ``(..., N, M)``.

    Two boxes without area have an IoU of 0/0: NaN, as in the original (spec 4.1); callers that
    compare decide what NaN means.
    """
    intersection = box_intersection(a, b)
    union = (box_area(a)[..., :, None] + box_area(b)[..., None, :]).sub_(intersection)
    return intersection.div_(union)
