"""What was measured: the stages of a model, and how its time grows with the objects."""

from dataclasses import asdict, dataclass
from typing import Any

READ, NETWORK, DETECT, RESCORE, MASKS, DRAW = (
    "read",
    "network",
    "detect",
    "rescore",
    "masks",
    "draw",
)
NETWORK_PARTS = ("backbone", "fpn", "head", "protonet")
"""Of :class:`yolact.model.yolact.Yolact`, in the order in which they run."""


@dataclass(frozen=True)
class Part:
    """What is known of a :class:`Stage` before it is timed."""

    name: str
    after: tuple[str, ...] = ()
    per_object: bool = False


@dataclass(frozen=True)
class Stage:
    """One part of the way from a picture to its masks."""

    name: str
    """``read``, ``preprocess``, ``network`` (where torch runs it eagerly its parts ``backbone``,
    ``fpn``, ``head`` and ``protonet``), ``detect`` (filter, decode, NMS), ``rescore`` (of
    YOLACT++), ``masks``, ``draw``; other models have their own."""
    after: tuple[str, ...]
    """The stages whose output it needs. Two of which neither needs the other may run side by side."""
    seconds: float
    """For a picture: median over the repeats."""
    p95: float
    """Seconds, 95th percentile."""
    per_object: bool = False
    """Whether its work is done again for each object, on features pooled from its box."""


@dataclass(frozen=True)
class Timeline:
    """The stages of one model, in the order in which they ran."""

    model: str
    """What people call it."""
    device: str
    """As people know it: the processor's name and number of threads, or the GPU's."""
    image_size: tuple[int, int]
    """(height, width) of the network input in pixels; of the first picture where it depends on it."""
    num_pictures: int
    num_repeats: int
    num_objects: float
    """Found in a picture, mean."""
    stages: tuple[Stage, ...]
    seconds: float
    """A picture, from its file to finished masks: median of the whole, without ``draw``."""
    p95: float
    """Seconds, 95th percentile of the same."""
    batch_size: int = 1
    """Pictures that go through together; every time here is the share of one."""

    @property
    def frames_per_second(self) -> float:
        """Pictures in a second."""
        return 1 / self.seconds

    @property
    def network_seconds(self) -> float:
        """Of our own network: the sum of its parts."""
        return self._sum(NETWORK, *NETWORK_PARTS)

    @property
    def postprocessing(self) -> float:
        """Share of ``detect``, ``rescore`` and ``masks`` in all that follows reading, in [0, 1].

        Pictures of a camera need not be read, so reading is not in the whole here.
        """
        rest = sum(stage.seconds for stage in self.stages if stage.name not in (READ, DRAW))
        return self._sum(DETECT, RESCORE, MASKS) / rest

    def to_dict(self) -> dict[str, Any]:
        """All of it, nested under the same names, ready for JSON."""
        return asdict(self) | {
            "frames_per_second": self.frames_per_second,
            "postprocessing": self.postprocessing,
        }

    def _sum(self, *names: str) -> float:
        return sum(stage.seconds for stage in self.stages if stage.name in names)


@dataclass(frozen=True)
class Growth:
    """How the time of one model grows with the number of objects in the picture."""

    model: str
    objects: tuple[int, ...]
    seconds: tuple[float, ...]
    """A picture with so many objects: the median of what happens before the objects are known, over
    all runs, plus the median of the rest for this number."""
    seconds_per_object: float | None
    """Slope of the straight line through them; None of a single number of objects."""

    def to_dict(self) -> dict[str, Any]:
        """The same, under the same names, ready for JSON."""
        return asdict(self)
