"""Feature pyramid (spec 1.6): C3, C4, C5 in; P3 … P7 out, all with the same channels."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from yolact.model.layers import BlockKind, conv3x3


class FeaturePyramid(nn.Module):
    """Top-down pathway with lateral connections, bilinear, and two extra coarse levels."""

    def __init__(self, in_channels: Sequence[int], channels: int, kind: BlockKind) -> None:
        """Take the channels of C3, C4, C5 and give every level ``channels``."""
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in in_channels)
        self.outputs = nn.ModuleList(conv3x3(channels, channels, kind) for _ in in_channels)
        self.downsamples = nn.ModuleList(
            conv3x3(channels, channels, kind, stride=2) for _ in range(2)
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """[C3, C4, C5] -> [P3, P4, P5, P6, P7]; P6 and P7 are not rectified (spec 1.6)."""
        merged = [lateral(c) for lateral, c in zip(self.laterals, features, strict=True)]
        for i in range(len(merged) - 2, -1, -1):
            merged[i] = merged[i] + F.interpolate(
                merged[i + 1], merged[i].shape[-2:], mode="bilinear", align_corners=False
            )
        levels = [F.relu(output(x)) for output, x in zip(self.outputs, merged, strict=True)]
        for downsample in self.downsamples:
            levels.append(downsample(levels[-1]))
        return levels
