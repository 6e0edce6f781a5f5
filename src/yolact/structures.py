"""The tensors that cross the borders between the parts. No maths, no files.

Letters in shapes: B images, A anchors, C classes, N detections, M objects of one image,
k prototypes, h x w prototype resolution, H x W image.
"""

from dataclasses import dataclass

from torch import Tensor

from yolact.config.detection import Crop


@dataclass(frozen=True)
class Target:
    """The truth about one image."""

    boxes: Tensor
    """(M, 4) float32, x1 y1 x2 y2 as fractions of the network input."""
    labels: Tensor
    """(M,) int64, 0 … C-1. Meaningless where ``is_crowd``."""
    masks: Tensor
    """(M, h, w) uint8, 0 or 1, at one resolution for all images of a batch; the losses resize what is
    not at theirs."""
    is_crowd: Tensor
    """(M,) bool. A crowd region excuses anchors inside it and is never an object to find."""


@dataclass(frozen=True)
class Batch:
    """Images and their truths, ready for the network."""

    images: Tensor
    """(B, 3, H, W) float32, normalised RGB."""
    targets: tuple[Target, ...]
    image_ids: tuple[int, ...]
    """For messages that name the pictures concerned."""


@dataclass(frozen=True)
class Predictions:
    """Raw output of the network for a batch, the same in training and evaluation (spec 1.13)."""

    box_offsets: Tensor
    """(B, A, 4), relative to the anchors (see ``ops.box_coding``)."""
    class_logits: Tensor
    """(B, A, C + 1), column 0 is background."""
    coefficients: Tensor
    """(B, A, k) in [-1, 1]: the weight of every prototype in the mask of this anchor."""
    prototypes: Tensor
    """(B, k, h, w), non-negative in the published models."""
    semantic_logits: Tensor | None = None
    """(B, C, P3 height, P3 width); only when asked for, since only the loss needs it."""


@dataclass(frozen=True)
class Detections:
    """What was found in one image, in the frame of the network input, best score first."""

    boxes: Tensor
    """(N, 4) x1 y1 x2 y2, fractions of the network input; may reach over its edge."""
    scores: Tensor
    """(N,) probability of the label."""
    labels: Tensor
    """(N,) int64, 0 … C-1."""
    coefficients: Tensor
    """(N, k)."""
    prototypes: Tensor
    """(k, h, w), shared by all detections of the image."""
    mask_scores: Tensor | None = None
    """(N,) score x predicted mask IoU, 0 or more, in no order; None if the model does not judge its
    masks."""
    crop: Crop = "hard"
    """Where the masks end, see :class:`yolact.config.detection.DetectionConfig`."""
    crop_margin: float = 0.0
    """In fractions of the box's sides."""

    def __len__(self) -> int:
        """Number of detections."""
        return len(self.scores)
