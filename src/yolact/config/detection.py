"""From network output to detections: thresholds and choices (spec 4.1, 4.2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Literal, TypedDict, cast, get_args

from yolact.errors import UsageError

DISPLAY_SCORE = 0.15
"""What people are shown scores above it, unless they ask for something else."""
Nms = Literal["fast", "cross-class", "greedy"]
Crop = Literal["hard", "soft", "none"]

# How many detections of an image the original keeps; its cross-class variant does not cut them.
_USUAL_DETECTIONS = {"fast": 100, "cross-class": 200, "greedy": 100}


class DetectionOptions(TypedDict, total=False):
    """What may be chosen each time a model is used; None leaves the model's own choice.

    The names are those of :class:`DetectionConfig`, but for the classes, which have names here.
    """

    classes: Sequence[str] | None
    """Names of the classes to find, or one name."""
    max_detections: int | None
    nms: Nms | None
    iou_threshold: float | None
    score_threshold: float | None
    crop: Crop | None
    crop_margin: float | None


@dataclass(frozen=True)
class DetectionConfig:
    """Which candidates become detections, and where their masks end. The defaults: the original."""

    score_threshold: float = 0.05
    """A candidate takes part when its best class probability is above this."""
    nms: Nms = "fast"
    """What drops boxes that overlap better ones: Fast NMS per class, Fast NMS over all classes
    together, or exact greedy NMS per class (see ``ops.nms``)."""
    iou_threshold: float = 0.5
    """A box is dropped when it overlaps a better one by more than this."""
    top_k: int = 200
    """Candidates per class that enter NMS, best first, or of all classes together in cross-class
    NMS; more when many detections are wanted, see :attr:`candidates_per_class`."""
    max_detections: int = 100
    """Detections kept per image, over all classes."""
    labels: tuple[int, ...] | None = None
    """The only classes to report, as labels 0 … C-1; None: all. Others still take part in NMS, but
    use up none of ``max_detections``."""
    crop: Crop = "hard"
    """Where a mask ends: ``hard`` at its box, ``soft`` fading out over ``crop_margin`` around it,
    ``none`` only where the network says so."""
    crop_margin: float = 0.0
    """How far beyond its box a mask may reach, in fractions of the box's sides."""

    def __post_init__(self) -> None:
        """Reject what is out of range or contradicts itself."""
        for name, known in (("nms", get_args(Nms)), ("crop", get_args(Crop))):
            if getattr(self, name) not in known:
                raise UsageError(
                    f"{name} must be one of {', '.join(known)}, not {getattr(self, name)!r}."
                )
        for name in ("score_threshold", "iou_threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} must lie in [0, 1], not {getattr(self, name)}.")
        if self.max_detections < 1 or self.top_k < 1:
            raise UsageError("max_detections and top_k must be at least 1.")
        if self.labels is not None and not self.labels:
            raise UsageError("name at least one class.")
        if not 0 <= self.crop_margin < inf:
            raise UsageError(f"crop_margin must be a number from 0 up, not {self.crop_margin}.")
        if self.crop == "soft" and not self.crop_margin:
            raise UsageError("a soft crop fades out over the crop margin: give one above 0.")
        if self.crop == "none" and self.crop_margin:
            raise UsageError(f"without a crop there is no crop margin of {self.crop_margin}.")

    @property
    def candidates_per_class(self) -> int:
        """``top_k``, grown in proportion when more detections are wanted than the original keeps.

        With the published 200, an image of 300 nuclei could never yield 300 detections.
        """
        return max(self.top_k, self.top_k * self.max_detections // _USUAL_DETECTIONS[self.nms])


def given_options(values: dict[str, Any]) -> DetectionOptions:
    """Those of ``values`` that are detection options and not None."""
    names = DetectionOptions.__annotations__
    chosen = {name: values[name] for name in names if values.get(name) is not None}
    return cast(DetectionOptions, chosen)
