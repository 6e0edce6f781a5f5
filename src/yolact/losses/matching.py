"""Anchors to ground truth (spec 5.3): which object, if any, each anchor has to predict."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from yolact.ops.boxes import box_area, box_intersection, box_iou, cxcywh_to_xyxy
from yolact.structures import Target

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


@dataclass(frozen=True)
class Matching:
    """The truth about a batch and who answers for it: all the losses need besides predictions.

    It is known before the network runs, so that nothing has to wait for a GPU later. Objects are
    numbered through the batch, image after image, without crowds and boxes of no area.
    """

    is_positive: Tensor
    """(B, A) bool."""
    is_ignored: Tensor
    """(B, A) bool: neither object nor background."""
    image: Tensor
    """(P,) image of each positive, ascending."""
    anchor: Tensor
    """(P,) its anchor."""
    matched: Tensor
    """(P,) its object."""
    counts: list[int]
    """Positives in each of the B images."""
    object_image: Tensor
    """(M,) image of each object, ascending."""
    boxes: Tensor
    """(M, 4) x1 y1 x2 y2 as fractions."""
    labels: Tensor
    """(M,) int64."""
    masks: Tensor
    """(M, h, w) uint8, 0 or 1, at the resolution at which they came."""

    @property
    def num_positives(self) -> Tensor:
        """P as a tensor () float32: what sums over positives are divided by."""
        return self.is_positive.sum(dtype=torch.float32)


@torch.no_grad()
def match_batch(
    targets: Sequence[Target],
    anchors: Tensor,
    *,
    positive_iou: float = 0.5,
    negative_iou: float = 0.4,
    crowd_iou: float = 0.7,
) -> Matching:
    """:func:`match_anchors` for every image of a batch.

    Args:
        targets: One per image, masks at one resolution. A box without area is passed over: no
            offsets lead to it, and it has no size to divide by.
        anchors: (A, 4) cx cy w h.
        positive_iou: IoU from which an anchor is a positive.
        negative_iou: IoU below which it is background.
        crowd_iou: Share of an anchor's own area inside one crowd box above which it is ignored.
    """
    kept = [
        (~t.is_crowd & (t.boxes[:, 2:] > t.boxes[:, :2]).all(dim=1)).nonzero()[:, 0]
        for t in targets
    ]
    boxes = [target.boxes[own] for target, own in zip(targets, kept, strict=True)]
    found = torch.stack(
        [
            match_anchors(
                anchors,
                own,
                target.boxes[target.is_crowd],
                positive_iou=positive_iou,
                negative_iou=negative_iou,
                crowd_iou=crowd_iou,
            ).matched
            for target, own in zip(targets, boxes, strict=True)
        ]
    )
    is_positive = found >= 0
    image, anchor = is_positive.nonzero().unbind(1)
    object_counts = torch.tensor([len(own) for own in kept], device=anchors.device)
    first = object_counts.cumsum(0) - object_counts
    return Matching(
        is_positive=is_positive,
        is_ignored=found == IGNORED,
        image=image,
        anchor=anchor,
        matched=first[image] + found[image, anchor],
        counts=image.bincount(minlength=len(targets)).tolist(),
        object_image=torch.arange(len(targets), device=first.device).repeat_interleave(
            object_counts
        ),
        boxes=torch.cat(boxes),
        labels=torch.cat([target.labels[own] for target, own in zip(targets, kept, strict=True)]),
        masks=torch.cat([target.masks[own] for target, own in zip(targets, kept, strict=True)]),
    )


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
