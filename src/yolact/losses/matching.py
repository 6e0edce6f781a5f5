"""Anchors to ground truth (spec 5.3): which object, if any, each anchor has to predict."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from yolact.ops.boxes import box_area, box_intersection, box_iou, cxcywh_to_xyxy

BACKGROUND = -1
IGNORED = -2


@dataclass(frozen=True)
class AnchorAssignment:
    """What each anchor of an image, or of every image of a batch, is trained towards."""

    matched: Tensor
    """(A,) or (B, A) int64: index among the image's objects, or BACKGROUND, or IGNORED."""

    @property
    def is_positive(self) -> Tensor:
        """Bool of the same shape."""
        return self.matched >= 0

    @property
    def is_ignored(self) -> Tensor:
        """Bool of the same shape: neither object nor background."""
        return self.matched == IGNORED

    @property
    def num_positives(self) -> Tensor:
        """How many anchors are positive, () float32: what sums over positives are divided by."""
        return self.is_positive.sum(dtype=torch.float32)


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
    # Each coordinate in one piece of memory: the table is twice as fast.
    corners = cxcywh_to_xyxy(anchors).T.contiguous().T
    matched = torch.full((len(anchors),), BACKGROUND, dtype=torch.int64, device=anchors.device)
    if len(boxes):
        iou = box_iou(boxes, corners)  # (M, A)
        overlap, best = iou.max(dim=0)
        claims = claim_best_anchors(iou)
        claimed = claims >= 0
        best[claims[claimed]] = torch.arange(len(boxes), device=best.device)[claimed]
        overlap[claims[claimed]] = 2.0
        matched = torch.where(overlap < positive_iou, IGNORED, best)
        matched = torch.where(overlap < negative_iou, BACKGROUND, matched)
    if len(crowd_boxes):
        share = box_intersection(crowd_boxes, corners) / box_area(corners)  # (K, A)
        excused = (share.amax(dim=0) > crowd_iou) & (matched < 0)
        matched = torch.where(excused, IGNORED, matched)
    return AnchorAssignment(matched)


def claim_best_anchors(iou: Tensor) -> Tensor:
    """Give every object one anchor of its own, the pair with the largest IoU first.

    The definition searches the whole table once per object. The same comes out if each object asks
    for the anchor it overlaps most, an anchor keeps the object that overlaps it most, and who is
    turned away asks for its next (deferred acceptance, Gale and Shapley 1962), since both sides
    rank a pair alike. Only objects in each other's way look at more than one anchor.

    Args:
        iou: (M, A). Of equal overlaps the first object's count, and its first anchor's.

    Returns:
        (M,) index of the anchor each object claims; no anchor appears twice. Of more objects than
        anchors, those that come away empty have -1.
    """
    overlaps, favourites = (best.tolist() for best in iou.max(dim=1))
    wishes = [
        _by_overlap(row, overlap, favourite, number=min(iou.shape))
        for row, overlap, favourite in zip(iou, overlaps, favourites, strict=True)
    ]
    holders: dict[int, tuple[float, int]] = {}  # of each claimed anchor: overlap, -object
    for newcomer in range(len(iou)):
        asking: int | None = newcomer
        while asking is not None and (wish := next(wishes[asking], None)) is not None:
            overlap, anchor = wish
            claim, rival = (overlap, -asking), holders.get(anchor)
            holders[anchor] = claim if rival is None else max(claim, rival)
            asking = None if rival is None else -min(claim, rival)[1]
    claims = torch.full((len(iou),), -1)
    for anchor, (_, negative) in holders.items():
        claims[-negative] = anchor
    return claims.to(iou.device)


def _by_overlap(
    overlaps: Tensor, largest: float, favourite: int, *, number: int
) -> Iterator[tuple[float, int]]:
    """Overlap and index of the ``number`` best anchors of an object, best first, first of equals first.

    The first is known; few objects ask for more.
    """
    yield largest, favourite
    threshold = overlaps.topk(number).values[-1]
    better = (overlaps > threshold).nonzero()[:, 0]
    better = better[overlaps[better].argsort(descending=True, stable=True)]
    equal = (overlaps == threshold).nonzero()[: number - len(better), 0]
    anchors = torch.cat((better, equal))[1:]
    yield from zip(overlaps[anchors].tolist(), anchors.tolist(), strict=True)
