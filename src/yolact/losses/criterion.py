"""The criterion: match once, call the terms, weigh and divide them (spec 5.4)."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from yolact.config.training import LossConfig
from yolact.losses.matching import Matching, match_batch
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

    def match(self, targets: tuple[Target, ...], anchors: Tensor) -> Matching:
        """Decide which anchors (A, 4) answer for which objects; the network is not asked."""
        return match_batch(
            targets,
            anchors,
            positive_iou=self.config.positive_iou,
            negative_iou=self.config.negative_iou,
            crowd_iou=self.config.crowd_iou,
        )

    def forward(
        self,
        predictions: Predictions,
        targets: tuple[Target, ...],
        anchors: Tensor,
        mask_scorer: Callable[[Tensor], Tensor] | None = None,
        *,
        matching: Matching | None = None,
        num_positives: Tensor | None = None,
        num_images: int | None = None,
    ) -> dict[str, Tensor]:
        """The weighted terms as scalars; the loss to minimise is their plain sum.

        Of a batch that comes in parts, as in accumulation or several processes, the counts of the
        whole take the place of the part's own. The losses of the parts then add up to the whole's.

        Args:
            predictions: With semantic logits. Half precision becomes float32 before anything else.
            targets: One per image; an image may have no objects, or only crowds. Boxes without
                area count as no objects.
            anchors: (A, 4) cx cy w h.
            mask_scorer: Cropped soft masks (n, h, w) -> IoU predicted for every class (n, C), of a
                model that judges its masks.
            matching: What :meth:`match` says of these targets, where it is known already.
            num_positives: () to divide by, instead of the number of positives here.
            num_images: To divide by, instead of the number of images here.

        Raises:
            ValueError: If the predictions have no semantic logits.
        """
        if matching is None:
            matching = self.match(targets, anchors)
        if num_positives is None:
            num_positives = matching.num_positives
        with torch.autocast(anchors.device.type, enabled=False):
            sums = self._sums(_full_precision(predictions), anchors, matching, mask_scorer)
        config, num_positives = self.config, num_positives.clamp(min=1)
        losses = {
            "box": config.box_weight * sums["box"] / num_positives,
            "class": config.class_weight * sums["class"] / num_positives,
            "mask": config.mask_weight * sums["mask"] / num_positives,
            "semantic": config.semantic_weight * sums["semantic"] / (num_images or len(targets)),
        }
        if mask_scorer is not None:
            losses["mask_iou"] = config.mask_iou_weight * sums["mask_iou"] / num_positives
        return losses

    def _sums(
        self,
        predictions: Predictions,
        anchors: Tensor,
        matching: Matching,
        mask_scorer: Callable[[Tensor], Tensor] | None,
    ) -> dict[str, Tensor]:
        """The terms of the batch, neither weighted nor divided."""
        assert predictions.semantic_logits is not None
        image, anchor, matched = matching.image, matching.anchor, matching.matched
        truth = matching.masks.to(predictions.prototypes.dtype)
        semantic = semantic_loss(
            predictions.semantic_logits, matching.object_image, matching.labels, truth
        )
        encoded = encode_boxes(matching.boxes[matched], anchors[anchor])
        box = box_loss(predictions.box_offsets[image, anchor], encoded)

        masks = self._sample_masks(predictions, matching, truth)
        # Zero, unless the network diverged: then NaN, so that training skips the step.
        mask = (predictions.prototypes.sum() + predictions.coefficients.sum()) * 0
        for each in masks:
            mask = mask + each.weight * mask_loss(each.predicted, each.boxes, each.truth)

        columns = torch.zeros_like(matching.is_positive, dtype=torch.int64)  # of the background
        columns[image, anchor] = matching.labels[matched] + 1
        chosen = matching.is_positive | mine_hard_negatives(
            predictions.class_logits,
            matching.is_positive,
            matching.is_ignored,
            self.config.negatives_per_positive,
        )
        classes = class_loss(predictions.class_logits[chosen], columns[chosen])
        sums = {"box": box, "class": classes, "mask": mask, "semantic": semantic}
        if mask_scorer is not None:
            sums["mask_iou"] = _judge(masks, mask_scorer)
        return sums

    def _sample_masks(
        self, predictions: Predictions, matching: Matching, truth: Tensor
    ) -> list["_Masks"]:
        """Of each image's positives, or of a random subset that stands for them."""
        height, width = predictions.prototypes.shape[-2:]
        truth = downscale_truth(truth, (height, width))
        anchors = torch.split(matching.anchor, matching.counts)
        objects = torch.split(matching.matched, matching.counts)
        limit = self.config.max_mask_positives
        samples = []
        for i, (anchor, matched) in enumerate(zip(anchors, objects, strict=True)):
            if len(anchor) > limit:
                subset = torch.randperm(len(anchor), device=anchor.device)[:limit]
                anchor, matched = anchor[subset], matched[subset]
            soft = assemble_masks(predictions.prototypes[i], predictions.coefficients[i, anchor])
            boxes = matching.boxes[matched]
            samples.append(
                _Masks(
                    crop_masks(soft, boxes),
                    truth[matched],
                    boxes,
                    matching.labels[matched],
                    weight=matching.counts[i] / max(len(anchor), 1),
                )
            )
        return samples


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
    weight: float
    """How many positives each of these stands for."""


def _judge(samples: list[_Masks], mask_scorer: Callable[[Tensor], Tensor]) -> Tensor:
    """Loss of the predicted IoUs.

    The masks are not detached, so that it trains prototypes and coefficients, too. The scorer runs
    even where no mask is left: every process of a training then has a gradient for it.
    """
    predicted = torch.cat([sample.predicted for sample in samples])
    truth = torch.cat([sample.truth for sample in samples])
    labels = torch.cat([sample.labels for sample in samples])
    large = truth.sum(dim=(1, 2)) > _TOO_FEW_PIXELS
    predicted, truth, labels = predicted[large], truth[large], labels[large]
    ious = mask_scorer(predicted).gather(1, labels[:, None])[:, 0]
    return mask_iou_loss(ious, predicted, truth)


def _full_precision(predictions: Predictions) -> Predictions:
    """At least float32: what half precision computed is converted, double stays."""

    def full(tensor: Tensor) -> Tensor:
        return tensor.to(torch.promote_types(tensor.dtype, torch.float32))

    if predictions.semantic_logits is None:
        raise ValueError("the criterion needs predictions made with semantic logits")
    return Predictions(
        box_offsets=full(predictions.box_offsets),
        class_logits=full(predictions.class_logits),
        coefficients=full(predictions.coefficients),
        prototypes=full(predictions.prototypes),
        semantic_logits=full(predictions.semantic_logits),
    )
