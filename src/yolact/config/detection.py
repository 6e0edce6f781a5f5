"""From network output to detections: the thresholds (spec 4.1)."""

from dataclasses import dataclass

from yolact.errors import UsageError


@dataclass(frozen=True)
class DetectionConfig:
    """Settings of Fast NMS. The defaults are the original's."""

    score_threshold: float = 0.05
    """A candidate takes part when its best class probability is above this."""
    iou_threshold: float = 0.5
    """A box is dropped when it overlaps a better one of its class by more than this."""
    top_k: int = 200
    """Candidates per class that enter NMS, best first; at least four for each wanted detection
    beyond a hundred, see :meth:`candidates_per_class`."""
    max_detections: int = 100
    """Detections kept per image, over all classes."""

    def __post_init__(self) -> None:
        """Reject thresholds outside their range."""
        for name in ("score_threshold", "iou_threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} must lie in [0, 1], not {getattr(self, name)}.")
        if self.max_detections < 1 or self.top_k < 1:
            raise UsageError("max_detections and top_k must be at least 1.")

    @property
    def candidates_per_class(self) -> int:
        """``top_k``, grown in proportion when more than the usual 100 detections are wanted.

        With the published 200, an image of 300 nuclei could never yield 300 detections.
        """
        return max(self.top_k, self.top_k * self.max_detections // 100)
