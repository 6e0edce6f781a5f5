"""Protonet (spec 1.7): the dictionary of image-wide prototype masks, from P3 at twice its size."""

from torch import Tensor, nn
from torch.nn import functional as F

from yolact.model.layers import BlockKind, conv3x3


class Protonet(nn.Module):
    """3x3 convolutions on P3, bilinear upsampling by two, one more, and a 1x1 to ``k`` maps."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        depth: int,
        num_prototypes: int,
        kind: BlockKind,
        *,
        rectified: bool,
    ) -> None:
        """Put ``depth`` convolutions before the upsampling."""
        super().__init__()
        self.rectified = rectified
        self.before = nn.ModuleList(
            conv3x3(in_channels if i == 0 else channels, channels, kind) for i in range(depth)
        )
        self.after = conv3x3(channels if depth else in_channels, channels, kind)
        self.project = nn.Conv2d(channels, num_prototypes, 1)

    def forward(self, p3: Tensor) -> Tensor:
        """P3 (B, channels, h, w) -> prototypes (B, k, 2h, 2w), non-negative if ``rectified``."""
        x = p3
        for conv in self.before:
            x = F.relu(conv(x))
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        prototypes: Tensor = self.project(F.relu(self.after(x)))
        return F.relu(prototypes) if self.rectified else prototypes
