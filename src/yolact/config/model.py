"""What a network is made of, as frozen data. Only ``model.build`` turns it into modules."""

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from yolact.errors import UsageError

IMAGENET_MEAN_RGB = (123.68, 116.78, 103.94)  # spec 3: the original's values, in 0-255 units
IMAGENET_STD_RGB = (58.40, 57.12, 57.38)


@dataclass(frozen=True)
class AnchorConfig:
    """Reference boxes of every pyramid level, finest level first (spec 1.9)."""

    scales: tuple[tuple[float, ...], ...] = ((24.0,), (48.0,), (96.0,), (192.0,), (384.0,))
    """Side in pixels of the network input, per level; more than one scale per level is allowed."""
    ratios: tuple[float, ...] = (1.0, 0.5, 2.0)
    """Width over height."""
    square: bool = False
    """Height copied from width. The published YOLACT v1 weights were trained with this slip."""

    @property
    def num_per_cell(self) -> int:
        """Anchors per cell; every level has the same number."""
        return len(self.scales[0]) * len(self.ratios)


@dataclass(frozen=True)
class ModelConfig:
    """Architecture of one YOLACT network. The defaults are the paper's (spec 1)."""

    class_names: tuple[str, ...]
    """Foreground classes in label order. Background is not among them."""
    backbone: str = "resnet50"
    """Any timm model that yields features at strides 8, 16 and 32. ``resnet50``, ``resnet101`` and
    ``darknet53`` are exactly the published ones."""
    backbone_widths: tuple[int, int, int, int] | None = None
    """Channels of the four stages, for a ResNet that shall be narrower than its name says."""
    deformable_interval: int = 0
    """Of the bottlenecks in the last three stages of a ResNet every so many has a deformable 3x3
    convolution (YOLACT++): 1 for all, 3 for the first, fourth, seventh …; 0 for none."""
    image_size: tuple[int, int] = (550, 550)
    """Network input, (height, width) in pixels."""
    letterbox: bool = False
    """Pictures keep their aspect, and what is left of the input is the mean colour; otherwise they
    are stretched to it, as published."""
    mean: tuple[float, float, float] = IMAGENET_MEAN_RGB
    std: tuple[float, float, float] = IMAGENET_STD_RGB
    anchors: AnchorConfig = field(default_factory=AnchorConfig)
    fpn_channels: int = 256
    protonet_channels: int = 256
    protonet_depth: int = 3
    """3x3 convolutions before the upsampling; one more follows it."""
    head_channels: int = 256
    head_depth: int = 1
    """3x3 convolutions before the three outputs."""
    num_prototypes: int = 32
    rectified_prototypes: bool = True
    """Prototypes pass a ReLU, as published. Without, which the paper allows too (section 3.1), none
    can die in a fast training from random weights."""
    block: Literal["plain", "light"] = "plain"
    """``plain``: 3x3 convolutions with bias, as published. ``light``: with batch norm instead, which
    learns faster from random weights, and 1x1 outputs in the head."""
    mask_rescoring: bool = False
    """A small network predicts the IoU of every mask, which then ranks by class score x IoU
    (YOLACT++)."""

    def __post_init__(self) -> None:
        """Reject what no network can be built from."""
        if isinstance(self.class_names, str) or not self.class_names:
            raise UsageError("class_names must be a non-empty list of names, not a single string.")
        if min(self.image_size) < 64:
            height, width = self.image_size
            raise UsageError(f"an input of {width}x{height} is too small: 64 pixels at least.")
        if len(self.anchors.scales) != 5:
            raise UsageError("anchor scales are needed for exactly five levels, P3 to P7.")
        if not self.anchors.ratios or not all(self.anchors.scales):
            raise UsageError("every pyramid level needs at least one anchor scale and ratio.")
        counts = ("fpn_channels", "protonet_channels", "head_channels", "num_prototypes")
        for name in counts:
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if self.backbone_widths is not None and min(self.backbone_widths) < 2:
            raise UsageError(f"backbone widths must be at least 2, not {self.backbone_widths}.")
        for name in ("protonet_depth", "head_depth", "deformable_interval"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} must not be negative, not {getattr(self, name)}.")
        if len({len(level) for level in self.anchors.scales}) != 1:
            raise UsageError("every pyramid level needs the same number of anchor scales.")

    @property
    def num_classes(self) -> int:
        """Foreground classes; class logits have one column more, the background's, in front."""
        return len(self.class_names)


def parse_size(size: Any) -> tuple[int, int]:
    """Read how users write a size: ``320`` is a square, ``"480x320"`` is width x height.

    Returns:
        (height, width) in pixels.

    Raises:
        UsageError: If ``size`` is neither.
    """
    sides = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", str(size).strip().lower(), re.ASCII)
    if sides is None or isinstance(size, bool):
        raise UsageError(f"a size is written like 320 or like 320x240, not {size!r}.")
    width, height = sides.groups()
    return int(height or width), int(width)
