"""The criterion: match once, call the terms, weigh and divide them (spec 5.4)."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from yolact.config.training import LossConfig
from yolact.losses.matching import AnchorAssignment, match_anchors
from yolact.losses.terms import (
    box_loss,
    class_loss,
    downscale_truth,
    mask_iou_loss,
    mask_loss,
    mine_hard_negatives,
    semantic_loss,
)
from yolact.ops.box_coding import encode_boxes
from yolact.ops.masks import assemble_masks, crop_masks
from yolact.structures import Predictions, Target

# Objects with so few pixels at prototype resolution, or fewer, do not train the predicted mask IoU
# (spec 5.4).
_TOO_FEW_PIXELS = 25


class YolactCriterion(nn.Module):
    """Predictions and targets in, weighted loss terms out: ``box``, ``class``, ``mask``, ``semantic``.

    The first three are divided by the number of positives in the batch, the last by the number of
    images. A batch without positives divides by one instead of zero. A model that judges its masks
    has a fifth, ``mask_iou``, in every batch; it is divided by the number of positives, too.
    """

    def __init__(self, config: LossConfig) -> None:
        """Take the weights and thresholds."""
        super().__init__()
        self.config = config

    def forward(
        self,
        predictions: Predictions,
        targets: tuple[Target, ...],
        anchors: Tensor,
        mask_scorer: Callable[[Tensor], Tensor] | None = None,
        *,
        num_positives: Tensor | None = None,
        num_images: int | None = None,
    ) -> dict[str, Tensor]:
        """The weighted terms as scalars; the loss to minimise is their plain sum.

        Args:
            predictions: With semantic logits.
            targets: One per image; an image may have no objects, or only crowds.
            anchors: (A, 4) cx cy w h.
            mask_scorer: Cropped soft masks (n, h, w) -> IoU predicted for every class (n, C), of a
                model that judges its masks.
            num_positives: Of the whole step, if this batch is a part of one; the divisor.
            num_images: Likewise.
        """
        objects = [_without_crowds(target) for target in targets]
        assignments = [
            self._match(anchors, target, own) for target, own in zip(targets, objects, strict=True)
        ]
        is_positive = torch.stack([a.is_positive for a in assignments])
        is_ignored = torch.stack([a.is_ignored for a in assignments])
        num_positives = (is_positive.sum() if num_positives is None else num_positives).clamp(min=1)

        box = predictions.box_offsets.sum() * 0
        # Zero, unless the network diverged: then NaN, so that training skips the step.
        mask = (predictions.prototypes.sum() + predictions.coefficients.sum()) * 0
        semantic = predictions.prototypes.new_zeros(())
        judged: list[_Masks] = []
        columns = torch.zeros_like(is_positive, dtype=torch.int64)  # background unless matched
        for i, (target, assignment) in enumerate(zip(objects, assignments, strict=True)):
            masks = target.masks.to(predictions.prototypes.dtype)
            semantic = semantic + semantic_loss(
                _semantic_logits(predictions)[i], target.labels, masks
            )
            positive = assignment.is_positive.nonzero()[:, 0]
            if not len(positive):
                continue
            matched = assignment.matched[positive]
            columns[i, positive] = target.labels[matched] + 1
            encoded = encode_boxes(target.boxes[matched], anchors[positive])
            box = box + box_loss(predictions.box_offsets[i, positive], encoded)
            sample = self._sample_masks(predictions, i, positive, matched, target, masks)
            share = len(sample.labels) / len(positive)
            mask = mask + mask_loss(sample.predicted, sample.boxes, sample.truth) / share
            judged.append(sample)

        negative = mine_hard_negatives(
            predictions.class_logits, is_positive, is_ignored, self.config.negatives_per_positive
        )
        chosen = is_positive | negative
        classes = class_loss(predictions.class_logits[chosen], columns[chosen])
        losses = {
            "box": self.config.box_weight * box / num_positives,
            "class": self.config.class_weight * classes / num_positives,
            "mask": self.config.mask_weight * mask / num_positives,
            "semantic": self.config.semantic_weight * semantic / (num_images or len(targets)),
        }
        if mask_scorer is not None:
            iou = _judge(judged, predictions.prototypes, mask_scorer)
            losses["mask_iou"] = self.config.mask_iou_weight * iou / num_positives
        return losses

    def count_positives(self, targets: tuple[Target, ...], anchors: Tensor) -> Tensor:
        """Number of positives of these targets, a scalar."""
        counts = [
            self._match(anchors, target, _without_crowds(target)).is_positive.sum()
            for target in targets
        ]
        return torch.stack(counts).sum()

    def _match(self, anchors: Tensor, target: Target, objects: Target) -> AnchorAssignment:
        return match_anchors(
            anchors,
            objects.boxes,
            target.boxes[target.is_crowd],
            positive_iou=self.config.positive_iou,
            negative_iou=self.config.negative_iou,
            crowd_iou=self.config.crowd_iou,
        )

    def _sample_masks(
        self,
        predictions: Predictions,
        image: int,
        positive: Tensor,
        matched: Tensor,
        target: Target,
        masks: Tensor,
    ) -> "_Masks":
        """Of the image's positives, or of a random subset that stands for them."""
        limit = self.config.max_mask_positives
        if len(positive) > limit:
            subset = torch.randperm(len(positive), device=positive.device)[:limit]
            positive, matched = positive[subset], matched[subset]
        prototypes, boxes = predictions.prototypes[image], target.boxes[matched]
        soft = assemble_masks(prototypes, predictions.coefficients[image, positive])
        truth = downscale_truth(masks, (prototypes.shape[-2], prototypes.shape[-1]))
        return _Masks(crop_masks(soft, boxes), truth[matched], boxes, target.labels[matched])


class _Masks(NamedTuple):
    """What positives of one image predict and what they should."""

    predicted: Tensor
    """(P, h, w) probabilities, cropped with the true boxes."""
    truth: Tensor
    """(P, h, w) 0.0 or 1.0."""
    boxes: Tensor
    """(P, 4) true ones as fractions."""
    labels: Tensor
    """(P,)."""


def _judge(
    masks: list[_Masks], prototypes: Tensor, mask_scorer: Callable[[Tensor], Tensor]
) -> Tensor:
    """Loss of the predicted IoUs.

    The masks are not detached, so that it trains prototypes and coefficients, too. The scorer runs
    even where no mask is left: every process of a training then has a gradient for it.
    """
    none = prototypes.new_zeros((0, *prototypes.shape[-2:]))
    no_labels = torch.zeros(0, dtype=torch.int64, device=prototypes.device)
    large = [each.truth.sum(dim=(1, 2)) > _TOO_FEW_PIXELS for each in masks]
    chosen = list(zip(masks, large, strict=True))
    predicted = torch.cat([none, *(each.predicted[kept] for each, kept in chosen)])
    truth = torch.cat([none, *(each.truth[kept] for each, kept in chosen)])
    labels = torch.cat([no_labels, *(each.labels[kept] for each, kept in chosen)])
    ious = mask_scorer(predicted).gather(1, labels[:, None])[:, 0]
    return mask_iou_loss(ious, predicted, truth)


def _without_crowds(target: Target) -> Target:
    objects = ~target.is_crowd
    return Target(
        boxes=target.boxes[objects],
        labels=target.labels[objects],
        masks=target.masks[objects],
        is_crowd=target.is_crowd[objects],
    )


def _semantic_logits(predictions: Predictions) -> Tensor:
    if predictions.semantic_logits is None:
        raise ValueError("the criterion needs predictions made with semantic logits")
    return predictions.semantic_logits
