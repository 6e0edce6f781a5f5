"""The loss terms (spec 5.4), each a function of tensors, unweighted and summed, not averaged.

The criterion matches, calls them, and divides; nothing here knows a weight or a batch.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from yolact.ops.masks import resize_masks


def box_loss(offsets: Tensor, targets: Tensor) -> Tensor:
    """Smooth L1 (beta 1) over the four offsets of the positives, (P, 4) each; the sum."""
    return F.smooth_l1_loss(offsets, targets, reduction="sum")


def mine_hard_negatives(
    class_logits: Tensor, is_positive: Tensor, is_ignored: Tensor, negatives_per_positive: int
) -> Tensor:
    """Choose the background anchors that look least like background (OHEM).

    Args:
        class_logits: (B, A, C + 1).
        is_positive: (B, A) bool.
        is_ignored: (B, A) bool; never chosen.
        negatives_per_positive: How many per positive of the same image.

    Returns:
        (B, A) bool. An image without positives gets as many as one with a single positive would,
        so that pictures of pure background teach something too (spec 5.4 gave them none).
    """
    num_anchors = class_logits.shape[1]
    with torch.no_grad():
        hardness = class_logits.logsumexp(dim=-1) - class_logits[..., 0]
        hardness = hardness.masked_fill(is_positive | is_ignored, 0)
        rank = hardness.argsort(dim=1, descending=True).argsort(dim=1)
        wanted = is_positive.sum(dim=1, keepdim=True).clamp(min=1) * negatives_per_positive
        chosen = rank < wanted.clamp(max=num_anchors - 1)
    return chosen & ~is_positive & ~is_ignored


def class_loss(class_logits: Tensor, columns: Tensor) -> Tensor:
    """Cross-entropy of the chosen anchors: logits (n, C + 1), column of the truth (n,); the sum."""
    return F.cross_entropy(class_logits, columns, reduction="sum")


def mask_loss(predicted: Tensor, boxes: Tensor, masks: Tensor) -> Tensor:
    """Pixel-wise cross-entropy of cropped soft masks over the area of the true boxes.

    Dividing by the area of the true box makes small objects weigh as much as large ones. A pixel
    of the truth outside its own padded box costs PyTorch's cap of 100 and has no gradient.

    Args:
        predicted: (P, h, w) probabilities, cropped with the true boxes.
        boxes: (P, 4) the true box of each as fractions.
        masks: (P, h, w) the true mask of each, 0.0 or 1.0.

    Returns:
        The sum over positives.
    """
    height, width = predicted.shape[-2:]
    # PyTorch raises for a NaN probability. The criterion sees to it that the sum is NaN instead.
    per_pixel = F.binary_cross_entropy(predicted.nan_to_num(), masks, reduction="none")
    size = (boxes[:, 2:] - boxes[:, :2]) * boxes.new_tensor((width, height))
    return (per_pixel.sum(dim=(1, 2)) / size.prod(dim=1)).sum()


def mask_iou_loss(predicted_ious: Tensor, predicted: Tensor, masks: Tensor) -> Tensor:
    """Smooth L1 between the IoU that was predicted for each mask and the one it has; the sum.

    Args:
        predicted_ious: (n,) for the class of each object.
        predicted: (n, h, w) the soft masks judged; above 0.5 a pixel belongs to the object.
        masks: (n, h, w) the true mask of each, 0.0 or 1.0, none of them empty.
    """
    found, true = predicted > 0.5, masks > 0.5
    union = (found | true).sum(dim=(1, 2))
    ious = (found & true).sum(dim=(1, 2)) / union
    return F.smooth_l1_loss(predicted_ious, ious.to(predicted_ious.dtype), reduction="sum")


def semantic_loss(logits: Tensor, labels: Tensor, masks: Tensor) -> Tensor:
    """Binary cross-entropy per class of the united masks, summed and over the map's area.

    Args:
        logits: (C, h, w) of one image.
        labels: (M,) of its objects.
        masks: (M, H, W) float 0.0 or 1.0, at any resolution.
    """
    height, width = logits.shape[-2:]
    truth = torch.zeros_like(logits)
    if len(masks):
        truth = truth.index_add(0, labels, downscale_truth(masks, (height, width))).clamp(max=1)
    return F.binary_cross_entropy_with_logits(logits, truth, reduction="sum") / (height * width)


def downscale_truth(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """True masks (M, H, W), 0.0 or 1.0, at another resolution, still 0.0 or 1.0."""
    return (resize_masks(masks, size) > 0.5).to(masks.dtype)
