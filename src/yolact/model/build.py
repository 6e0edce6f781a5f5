"""From a ModelConfig to a network: the only reader of configuration in this folder."""

from math import ceil

import torch
from torch import Tensor, nn

from yolact.config.model import ModelConfig
from yolact.model.backbone import STRIDES, Backbone, check_feature_sizes
from yolact.model.fpn import FeaturePyramid
from yolact.model.mask_scorer import MaskScorer
from yolact.model.prediction_head import PredictionHead
from yolact.model.protonet import Protonet
from yolact.model.yolact import Yolact
from yolact.ops.anchors import generate_anchors


def build_yolact(config: ModelConfig, *, pretrained_backbone: bool = False) -> Yolact:
    """Build the network of ``config``.

    Outside the backbone every convolution starts from Xavier-uniform weights and zero biases
    (spec 5.5).

    Args:
        config: The architecture.
        pretrained_backbone: Let timm fetch ImageNet weights for the backbone.

    Raises:
        UsageError: If the backbone does not exist, has no usable features at this image size, or
            cannot be deformable where it should, or shall start from ImageNet weights that nobody
            has.
        CheckpointError: If the ImageNet weights cannot be fetched.
    """
    levels = pyramid_sizes(config.image_size)
    name, widths = config.backbone, config.backbone_widths
    check_feature_sizes(name, widths, config.image_size, levels[: len(STRIDES)])
    backbone = Backbone(
        name,
        widths,
        deformable_interval=config.deformable_interval,
        pretrained=pretrained_backbone,
    )
    model = Yolact(
        backbone=backbone,
        fpn=FeaturePyramid(backbone.channels, config.fpn_channels, config.block),
        protonet=Protonet(
            config.fpn_channels,
            config.protonet_channels,
            config.protonet_depth,
            config.num_prototypes,
            config.block,
            rectified=config.rectified_prototypes,
        ),
        head=PredictionHead(
            config.fpn_channels,
            config.head_channels,
            config.head_depth,
            config.anchors.num_per_cell,
            config.num_classes,
            config.num_prototypes,
            len(config.anchors.scales),
            config.block,
        ),
        semantic_head=nn.Conv2d(config.fpn_channels, config.num_classes, 1),
        anchors=build_anchors(config),
        image_size=config.image_size,
        mask_scorer=MaskScorer(config.num_classes) if config.mask_rescoring else None,
    )
    for name, part in model.named_children():
        if name != "backbone":
            part.apply(_initialize)
    return model


def build_anchors(config: ModelConfig) -> Tensor:
    """(A, 4) cx cy w h as fractions of the input, in the order of the predictions, on the CPU."""
    with torch.device("cpu"):  # real in a skeleton too: no checkpoint holds them
        return generate_anchors(
            pyramid_sizes(config.image_size),
            config.anchors.scales,
            config.anchors.ratios,
            config.image_size,
            square=config.anchors.square,
        )


def build_skeleton(config: ModelConfig) -> Yolact:
    """The network of ``config`` with shapes alone, on torch's meta device: no memory for weights.

    It becomes real when a checkpoint's tensors take the place of its own. Where the backbone keeps
    buffers that no checkpoint holds, the network is built with random weights instead.

    Raises:
        UsageError: As :func:`build_yolact`.
    """
    with torch.device("meta"):
        model = build_yolact(config)
    kept = model.state_dict().keys()
    if any(buffer.is_meta and name not in kept for name, buffer in model.named_buffers()):
        return build_yolact(config)
    return model


def pyramid_sizes(image_size: tuple[int, int]) -> list[tuple[int, int]]:
    """(height, width) of P3 … P7: every halving rounds up (spec 1.1)."""
    height, width = image_size
    strides = (*STRIDES, 2 * STRIDES[-1], 4 * STRIDES[-1])
    return [(ceil(height / stride), ceil(width / stride)) for stride in strides]


def prototype_size(image_size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of the prototypes: twice P3, which need not be a quarter of the input."""
    height, width = pyramid_sizes(image_size)[0]
    return 2 * height, 2 * width


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            torch.nn.init.zeros_(module.bias)
