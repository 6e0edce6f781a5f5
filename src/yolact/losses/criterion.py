"""The criterion: match once, call the terms, weigh and divide them (spec 5.4)."""

import torch
from torch import Tensor, nn

from yolact.config.training import LossConfig
from yolact.losses.matching import AnchorAssignment, match_anchors
from yolact.losses.terms import (
    box_loss,
    class_loss,
    downscale_truth,
    mask_loss,
    mine_hard_negatives,
    semantic_loss,
)
from yolact.ops.box_coding import encode_boxes
from yolact.structures import Predictions, Target


class YolactCriterion(nn.Module):
    """Predictions and targets in, weighted loss terms out: ``box``, ``class``, ``mask``, ``semantic``.

    The first three are divided by the number of positives in the batch, the last by the number of
    images. A batch without positives divides by one instead of zero.
    """

    def __init__(self, config: LossConfig) -> None:
        """Take the weights and thresholds."""
        super().__init__()
        self.config = config

    def forward(
        self, predictions: Predictions, targets: tuple[Target, ...], anchors: Tensor
    ) -> dict[str, Tensor]:
        """The weighted terms as scalars; the loss to minimise is their plain sum.

        Args:
            predictions: With semantic logits.
            targets: One per image; an image may have no objects, or only crowds.
            anchors: (A, 4) cx cy w h.
        """
        objects = [_without_crowds(target) for target in targets]
        assignments = [
            self._match(anchors, target, own) for target, own in zip(targets, objects, strict=True)
        ]
        is_positive = torch.stack([a.is_positive for a in assignments])
        is_ignored = torch.stack([a.is_ignored for a in assignments])
        num_positives = is_positive.sum().clamp(min=1)

        box = predictions.box_offsets.sum() * 0
        # Zero, unless the network diverged: then NaN, so that training skips the step.
        mask = (predictions.prototypes.sum() + predictions.coefficients.sum()) * 0
        semantic = predictions.prototypes.new_zeros(())
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
            mask = mask + self._mask_loss(predictions, i, positive, matched, target, masks)

        negative = mine_hard_negatives(
            predictions.class_logits, is_positive, is_ignored, self.config.negatives_per_positive
        )
        chosen = is_positive | negative
        classes = class_loss(predictions.class_logits[chosen], columns[chosen])
        return {
            "box": self.config.box_weight * box / num_positives,
            "class": self.config.class_weight * classes / num_positives,
            "mask": self.config.mask_weight * mask / num_positives,
            "semantic": self.config.semantic_weight * semantic / len(targets),
        }

    def _match(self, anchors: Tensor, target: Target, objects: Target) -> AnchorAssignment:
        return match_anchors(
            anchors,
            objects.boxes,
            target.boxes[target.is_crowd],
            positive_iou=self.config.positive_iou,
            negative_iou=self.config.negative_iou,
            crowd_iou=self.config.crowd_iou,
        )

    def _mask_loss(
        self,
        predictions: Predictions,
        image: int,
        positive: Tensor,
        matched: Tensor,
        target: Target,
        masks: Tensor,
    ) -> Tensor:
        prototypes = predictions.prototypes[image]
        limit = self.config.max_mask_positives
        scale = 1.0
        if len(positive) > limit:
            subset = torch.randperm(len(positive), device=positive.device)[:limit]
            scale = len(positive) / limit
            positive, matched = positive[subset], matched[subset]
        loss = mask_loss(
            prototypes,
            predictions.coefficients[image, positive],
            target.boxes,
            downscale_truth(masks, (prototypes.shape[-2], prototypes.shape[-1])),
            matched,
        )
        return loss * scale


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
