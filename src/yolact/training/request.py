"""What a user asks of a training, said once for whoever prepares it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolact.errors import UsageError

DEFAULT_MODEL = "yolact-nano"


@dataclass(frozen=True, kw_only=True)
class Request:
    """The arguments of :func:`yolact.training.run.train` that say what is trained on what."""

    data: str | os.PathLike[str]
    model: str | None = None
    out: str | os.PathLike[str] | None = None
    resume: bool = False
    weights: str | os.PathLike[str] | None = None
    pretrained_backbone: bool = False
    backbone_weights: str | os.PathLike[str] | None = None
    size: int | str | None = None
    letterbox: bool | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of ``TrainingConfig``, ``max_detections`` and ``recipe``."""

    def __post_init__(self) -> None:
        """Refuse more than one beginning.

        Raises:
            UsageError: If the first weights are to come from several places.
        """
        beginnings = (self.resume, self.weights, self.pretrained_backbone, self.backbone_weights)
        if sum(each not in (None, False) for each in beginnings) > 1:
            raise UsageError(
                "choose one of resume, weights, pretrained_backbone and backbone_weights: each says "
                "where the first weights come from."
            )

    @property
    def folder(self) -> Path:
        """Where the run is written: ``out``, or a folder in ``runs`` named after what it begins with."""
        if self.out is not None:
            return Path(self.out)
        name = self.model or (DEFAULT_MODEL if self.weights is None else "fine-tuned")
        return Path("runs") / Path(name).stem
