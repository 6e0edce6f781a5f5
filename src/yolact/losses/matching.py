"""Anchors to ground truth (spec 5.3): which object, if any, each anchor has to predict."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from yolact.ops.boxes import box_area, box_intersection, box_iou, cxcywh_to_xyxy

BACKGROUND = -1
IGNORED = -2


@dataclass(frozen=True)
class AnchorAssignment:
    """What each anchor of one image is trained towards."""

    matched: Tensor
    """(A,) int64: index of the object, or BACKGROUND, or IGNORED."""

    @property
    def is_positive(self) -> Tensor:
        """(A,) bool."""
        return self.matched >= 0

    @property
    def is_ignored(self) -> Tensor:
        """(A,) bool: neither object nor background."""
        return self.matched == IGNORED


@torch.no_grad()
def match_anchors(
    anchors: Tensor,
    boxes: Tensor,
    crowd_boxes: Tensor,
    *,
    positive_iou: float = 0.5,
    negative_iou: float = 0.4,
    crowd_iou: float = 0.7,
) -> AnchorAssignment:
    """Assign every anchor to an object, to the background, or to neither.

    Each anchor takes the object it overlaps most. Then every object, best overlap first, claims
    one anchor of its own, however small the overlap, so that none goes untrained. Anchors that lie
    mostly in a crowd region are not held to be background.

    Args:
        anchors: (A, 4) cx cy w h.
        boxes: (M, 4) x1 y1 x2 y2 of the objects, M may be 0.
        crowd_boxes: (K, 4) x1 y1 x2 y2 of the crowd regions, K may be 0.
        positive_iou: IoU from which an anchor is a positive.
        negative_iou: IoU below which it is background.
        crowd_iou: Share of an anchor's own area inside one crowd box above which it is ignored.
    """
    corners = cxcywh_to_xyxy(anchors)
    matched = torch.full((len(anchors),), BACKGROUND, dtype=torch.int64, device=anchors.device)
    if len(boxes):
        iou = box_iou(boxes, corners)  # (M, A)
        overlap, best = iou.max(dim=0)
        claims = claim_best_anchors(iou)
        best[claims] = torch.arange(len(boxes), device=best.device)
        overlap[claims] = 2.0
        matched = torch.where(overlap < positive_iou, IGNORED, best)
        matched = torch.where(overlap < negative_iou, BACKGROUND, matched)
    if len(crowd_boxes):
        share = box_intersection(crowd_boxes, corners) / box_area(corners)  # (K, A)
        excused = (share.amax(dim=0) > crowd_iou) & (matched < 0)
        matched = torch.where(excused, IGNORED, matched)
    return AnchorAssignment(matched)


def claim_best_anchors(iou: Tensor) -> Tensor:
    """Give every object one anchor of its own, the pair with the largest IoU first.

    The definition searches the whole table once per object. Here each object remembers its best
    free anchor, and only those that lose theirs to another look again.

    Args:
        iou: (M, A), M <= A.

    Returns:
        (M,) index of the anchor each object claims; no anchor appears twice.
    """
    table = iou.cpu().numpy().copy()
    num_objects = len(table)
    favourite = table.argmax(axis=1)
    overlap = table[np.arange(num_objects), favourite]
    claims = np.zeros(num_objects, dtype=np.int64)
    for _ in range(num_objects):
        winner = int(overlap.argmax())
        anchor = favourite[winner]
        claims[winner] = anchor
        overlap[winner] = -np.inf
        table[:, anchor] = -1
        for loser in np.flatnonzero((favourite == anchor) & (overlap > -np.inf)):
            favourite[loser] = table[loser].argmax()
            overlap[loser] = table[loser, favourite[loser]]
    return torch.from_numpy(claims).to(iou.device)
