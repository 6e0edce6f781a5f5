"""Backbones from timm: feature maps C3, C4, C5 at strides 8, 16 and 32."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import timm
import torch
from torch import Tensor, nn

from yolact.errors import CheckpointError, UsageError
from yolact.model.deform_conv import deform_bottlenecks

STRIDES = (8, 16, 32)

_PUBLISHED_DARKNET = "darknet53"


class Backbone(nn.Module):
    """A timm network cut to the three feature maps that the FPN reads.

    ``resnet50`` and ``resnet101`` are exactly the published arrangement (spec 1.2): 7x7 stem, the
    stride in the 3x3 convolution. So is ``darknet53`` (spec 1.3), whose LeakyReLUs have a slope of
    0.1; timm's own, with 0.01, goes by its full name, ``darknet53.c2ns_in1k``.
    """

    channels: list[int]
    """Channels of C3, C4, C5."""

    def __init__(
        self,
        name: str,
        widths: Sequence[int] | None = None,
        *,
        deformable_interval: int = 0,
        pretrained: bool = False,
    ) -> None:
        """Build the network ``name``, with random weights unless ``pretrained``.

        Args:
            name: As timm knows it.
            widths: Channels of the four stages of a ResNet; its own if None.
            deformable_interval: Every so many bottlenecks of the last three stages of a ResNet one
                is deformable (spec 1.5); 0 for none.
            pretrained: Let timm fetch ImageNet weights.

        Raises:
            UsageError: If timm does not know the name, the network has no features at strides 8,
                16 and 32, ``widths`` or deformable blocks are asked of something else than a
                ResNet that has them, or there are no ImageNet weights for it.
            CheckpointError: If the ImageNet weights cannot be fetched.
        """
        super().__init__()
        if not timm.is_model(name):
            raise UsageError(f"timm has no backbone called {name!r}; see timm.list_models().")
        if pretrained and name == _PUBLISHED_DARKNET:
            raise UsageError(
                f"timm's weights are for another slope than the published {name} has: train from "
                f"the original's initialisation file, or with the backbone {name}.c2ns_in1k."
            )
        if pretrained and widths is not None:
            raise UsageError(
                f"there are no ImageNet weights for a {name} with widths of its own; choose a model "
                "with a standard backbone."
            )
        options: dict[str, Any] = {}
        if widths is not None:
            options |= {"channels": widths, "stem_width": widths[0] // 2}
        if name == _PUBLISHED_DARKNET:
            options["act_layer"] = partial(nn.LeakyReLU, negative_slope=0.1)
        indices = _indices_of_strides(name, options)
        with _fetching(name) if pretrained else nullcontext():
            self.body = timm.create_model(
                name, pretrained=pretrained, features_only=True, out_indices=indices, **options
            )
        self.channels = self.body.feature_info.channels()
        if deformable_interval and not deform_bottlenecks(self.body, deformable_interval):
            raise UsageError(
                f"backbone {name!r} cannot be deformable: that takes a ResNet of bottlenecks, such "
                "as resnet26, resnet50 or resnet101."
            )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (B, 3, H, W) -> [C3, C4, C5]."""
        features: list[Tensor] = self.body(images)
        return features


def check_feature_sizes(
    name: str,
    widths: Sequence[int] | None,
    image_size: tuple[int, int],
    expected: Sequence[tuple[int, int]],
) -> None:
    """Make sure that the features of ``name`` have the sizes that the anchors are made for.

    Raises:
        UsageError: If they have not, or the backbone does not take such images.
    """
    height, width = image_size
    with torch.device("meta"), torch.no_grad():  # shapes alone; nothing is computed
        body = Backbone(name, widths).eval()
        try:
            sizes = [(f.shape[2], f.shape[3]) for f in body(torch.empty(1, 3, height, width))]
        except (RuntimeError, AssertionError) as error:
            raise UsageError(
                f"backbone {name!r} takes no {width}x{height} images (width x height)."
            ) from error
    if sizes != list(expected):
        raise UsageError(
            f"backbone {name!r} rounds sizes down: choose an image size that is a multiple of 32, "
            f"not {width}x{height} (width x height)."
        )


def _indices_of_strides(name: str, options: dict[str, Any]) -> tuple[int, ...]:
    try:
        with torch.device("meta"):  # only the description is wanted, not the weights
            info = timm.create_model(name, features_only=True, **options).feature_info
    except (RuntimeError, TypeError, AttributeError, ValueError) as error:
        if "channels" in options:
            raise UsageError(
                f"backbone {name!r} is no ResNet that takes widths: {error}"
            ) from error
        raise UsageError(f"timm cannot build {name!r} as a feature backbone: {error}") from error
    reductions = info.reduction()
    if missing := [stride for stride in STRIDES if stride not in reductions]:
        raise UsageError(f"backbone {name!r} has no features at stride {missing[0]}: {reductions}.")
    # Of several maps with one stride the last is the deepest. By default timm may leave out the
    # first ones (dla34), so that a place in this list is not yet an index.
    last = dict(zip(reductions, info.out_indices, strict=True))
    return tuple(last[stride] for stride in STRIDES)


@contextmanager
def _fetching(name: str) -> Iterator[None]:
    """Say in one sentence why there are no ImageNet weights."""
    if not timm.is_model_pretrained(name):
        raise UsageError(f"timm has no ImageNet weights for {name}.")
    try:
        yield
    except Exception as error:  # a network fails in many ways
        raise CheckpointError(
            f"the ImageNet weights of {name} could not be fetched ({type(error).__name__}): connect "
            "to the internet, or give a file of them as backbone weights."
        ) from error
