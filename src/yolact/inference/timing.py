"""How long each part of a model takes, from the picture to finished masks."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One part of the way from a picture to its masks."""

    name: str
    """``read``, ``preprocess``, ``backbone``, ``fpn``, ``protonet``, ``head``, ``detect`` (softmax, filter, decode, NMS),
    ``masks``; other models have their own."""
    after: tuple[str, ...]
    """The stages whose output it needs. Two of which neither needs the other may run side by side."""
    seconds: float
    """Median over the repeats."""
    p95: float
    """Seconds, 95th percentile."""
    per_object: bool = False
    """Whether its work is done again for each object, on features pooled from its box."""


@dataclass(frozen=True)
class Timeline:
    """The stages of one model, in the order in which they ran."""

    model: str
    device: str
    """As people know it: the processor's name and number of threads, or the GPU's."""
    image_size: tuple[int, int]
    """(height, width) of the network input in pixels."""
    num_pictures: int
    num_repeats: int
    num_objects: float
    """Found in a picture, mean."""
    stages: tuple[Stage, ...]
    seconds: float
    """A picture, median of the whole."""
