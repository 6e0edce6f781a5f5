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
        # Image by image: the copy that the softmax makes of all logits then stays small.
        hardness = torch.stack([-logits.log_softmax(dim=-1)[:, 0] for logits in class_logits])
        hardness = hardness.masked_fill(is_positive | is_ignored, 0)
        wanted = is_positive.sum(dim=1, keepdim=True).clamp(min=1) * negatives_per_positive
        wanted = wanted.clamp(max=num_anchors - 1)
        hardest = hardness.topk(int(wanted.max()), dim=1).indices
        rank = torch.arange(hardest.shape[1], device=hardest.device)
        chosen = torch.zeros_like(is_positive).scatter(1, hardest, rank < wanted)
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


def semantic_loss(logits: Tensor, images: Tensor, labels: Tensor, masks: Tensor) -> Tensor:
    """Binary cross-entropy per class of the united masks over the map's area; the sum over images.

    Args:
        logits: (B, C, h, w).
        images: (M,) the image of each object, 0 … B-1.
        labels: (M,) its class.
        masks: (M, H, W) float 0.0 or 1.0, at any resolution.
    """
    _, num_classes, height, width = logits.shape
    truth = torch.zeros_like(logits).flatten(0, 1)
    truth.index_add_(0, images * num_classes + labels, downscale_truth(masks, (height, width)))
    truth = truth.clamp_(max=1).view_as(logits)
    return F.binary_cross_entropy_with_logits(logits, truth, reduction="sum") / (height * width)


def downscale_truth(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """True masks (M, H, W), 0.0 or 1.0, at another resolution, still 0.0 or 1.0."""
    if not len(masks):  # which PyTorch does not resize
        return masks.new_zeros((0, *size))
    return (resize_masks(masks, size) > 0.5).to(masks.dtype)
