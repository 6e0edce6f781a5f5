"""What a prototype has learnt to respond to, told from its values alone."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

KINDS = ("left-right", "top-bottom", "foreground", "edges", "instances")
"""What :func:`describe_prototypes` measures, in this order."""

_FLAT = 1e-4
_WEAK = 0.3


@dataclass(frozen=True)
class PrototypeRole:
    """How one prototype behaves over one picture."""

    strengths: tuple[float, ...]
    """One for each of :data:`KINDS`. The first four are correlations in [-1, 1]; the last is the
    share, in [0, 1], of the variance on objects that lies between them rather than within."""
    is_alive: bool
    """Whether it has any contrast at all; one that has none can tell nothing from anything."""

    @property
    def kind(self) -> str:
        """The strongest of :data:`KINDS`, ``mixed`` if all are weak, ``dead`` without contrast."""
        if not self.is_alive:
            return "dead"
        sizes = [abs(strength) for strength in self.strengths]
        return KINDS[sizes.index(max(sizes))] if max(sizes) >= _WEAK else "mixed"


def describe_prototypes(prototypes: Tensor, masks: Tensor) -> list[PrototypeRole]:
    """Compare each prototype with the picture's axes and with the objects in it.

    The kinds are those that the paper sees in its figure 5: some prototypes split the picture by
    position, some find outlines, some foreground, and some tell one instance from its neighbour.

    Args:
        prototypes: (k, h, w).
        masks: (M, h, w) bool of the objects; M may be 0, then only position can be told.
    """
    count, height, width = prototypes.shape
    flat = prototypes.double().reshape(count, -1)
    spread = flat.amax(dim=1) - flat.amin(dim=1)
    scale = flat.abs().amax(dim=1).clamp(min=1)
    x = torch.linspace(-1, 1, width, dtype=torch.float64).expand(height, width)
    y = torch.linspace(-1, 1, height, dtype=torch.float64)[:, None].expand(height, width)
    union = masks.any(dim=0) if len(masks) else torch.zeros(height, width, dtype=torch.bool)
    columns = [
        _correlation(flat, reference.reshape(-1).double())
        for reference in (x, y, union, _outlines(masks, height, width))
    ]
    strengths = torch.stack([*columns, _between_instances(flat, masks)], dim=1)
    return [
        PrototypeRole(tuple(row), alive)
        for row, alive in zip(strengths.tolist(), (spread > _FLAT * scale).tolist(), strict=True)
    ]


def between_extremes(prototypes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Prototypes (k, h, w) from 0 at each one's least to 1 at its greatest value, 0 where it is constant.

    Values that are not finite count as the nearest that are, and NaN as 0.

    Returns:
        Them, and the least and greatest values (k,).
    """
    prototypes = prototypes.nan_to_num()
    low, high = prototypes.amin(dim=(1, 2)), prototypes.amax(dim=(1, 2))
    spread = (high - low).clamp(min=1e-12)
    return (prototypes - low[:, None, None]) / spread[:, None, None], low, high


def _correlation(values: Tensor, reference: Tensor) -> Tensor:
    """Pearson's r of each row of (k, n) with (n,); 0 where either is constant."""
    values = values - values.mean(dim=1, keepdim=True)
    reference = reference - reference.mean()
    size = values.norm(dim=1) * reference.norm()
    return torch.where(size > 1e-9, values @ reference / size.clamp(min=1e-9), 0.0)


def _outlines(masks: Tensor, height: int, width: int) -> Tensor:
    """(h, w) bool: cells of any object that touch a cell outside of it, and those they touch."""
    if not len(masks):
        return torch.zeros(height, width, dtype=torch.bool)
    inside = masks[:, None].float()
    grown = F.max_pool2d(inside, 3, stride=1, padding=1)
    shrunk = -F.max_pool2d(-inside, 3, stride=1, padding=1)
    return (grown - shrunk)[:, 0].amax(dim=0) > 0


def _between_instances(flat: Tensor, masks: Tensor) -> Tensor:
    """(k,) eta squared over the cells of objects, each cell once per object; 0 for fewer than two."""
    groups = [flat[:, mask.reshape(-1)] for mask in masks if mask.any()]
    if len(groups) < 2:
        return flat.new_zeros(len(flat))
    everything = torch.cat(groups, dim=1)
    mean = everything.mean(dim=1, keepdim=True)
    total = (everything - mean).square().sum(dim=1)
    means = torch.stack([group.mean(dim=1) for group in groups], dim=1)
    sizes = torch.tensor([group.shape[1] for group in groups], dtype=flat.dtype)
    between = ((means - mean).square() * sizes).sum(dim=1)
    return torch.where(total > 1e-9, between / total.clamp(min=1e-9), 0.0)
