"""What was tried to bring a network to int8, and what came of it."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from yolact.artifacts.metadata import ArtifactMetadata


@dataclass(frozen=True)
class Ap:
    """Of masks and of boxes, in [0, 1]."""

    mask: float
    box: float

    def points_to(self, other: "Ap") -> float:
        """How many points, of 100, the other has less, of that which lost more."""
        return 100 * max(self.mask - other.mask, self.box - other.box)

    def __str__(self) -> str:
        """In points of 100, as people say it."""
        return f"mask AP {100 * self.mask:.2f}, box AP {100 * self.box:.2f}"


@dataclass(frozen=True)
class Trial:
    """One step: what stays in float32, and the AP with all else in int8."""

    kept: str
    """For people."""
    num_kept: int
    """Convolutions."""
    ap: Ap
    drop: float
    """Points, of 100, of mask AP or box AP, whichever lost more."""


@dataclass(frozen=True)
class Speed:
    """Of one way to run the network, one picture at a time, in turn with the others."""

    runtime: str
    """For people."""
    network_seconds: float
    """Median."""
    seconds: float
    """From the picture in memory to finished masks, median."""


@dataclass(frozen=True)
class Int8Report:
    """What was tried, and what came of it. The last trial is the one that was taken."""

    before: Ap
    """In float32."""
    trials: tuple[Trial, ...]
    max_drop: float
    """Points of AP, of 100."""
    speeds: tuple[Speed, ...]
    """As loaded, in float32 in the runtime of the file, and in int8 there."""
    num_calibration: int
    calibration_source: str
    num_measured: int
    measured_source: str
    from_one_split: bool
    """Whether both are of one split, of which what calibrated was then not measured."""

    def added_to(self, metadata: ArtifactMetadata) -> ArtifactMetadata:
        """The record of a model that came about like this."""
        return replace(metadata, provenance=metadata.provenance | {"int8": self.to_dict()})

    def to_dict(self) -> dict[str, Any]:
        """All of it under the same names, ready for JSON."""
        return asdict(self)
