"""How the masks of one picture came about: prototypes, coefficients, sums and crops."""

from dataclasses import dataclass
from functools import cached_property
from math import ceil, floor
from typing import Any, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yolact.config.detection import DISPLAY_SCORE, DetectionOptions
from yolact.errors import UsageError
from yolact.inference.predictor import Predictor
from yolact.inference.sources import Source, load_picture
from yolact.ops.masks import assemble_masks, confine_masks
from yolact.ops.prototypes import KINDS, PrototypeRole, describe_prototypes
from yolact.results import Result
from yolact.structures import Detections


@dataclass(frozen=True)
class Explanation:
    """One picture on its way through the last steps of the network (paper, section 3.1)."""

    view: NDArray[np.uint8]
    """The picture as the network saw it: (H, W, 3) RGB at the size of the input."""
    detections: Detections
    """N of them, with the prototypes, on the CPU; boxes in fractions of the view."""
    result: Result
    """The same N objects in pixels of the picture."""

    def contributions(self, index: int) -> Tensor:
        """(k, h, w): each prototype times its coefficient for one detection, see :meth:`logits`."""
        return self.detections.coefficients[index][:, None, None] * self.detections.prototypes

    def logits(self, index: int) -> Tensor:
        """(h, w): the sum of all contributions, before the sigmoid."""
        return self.contributions(index).sum(dim=0)

    def strongest(self, index: int) -> list[int]:
        """All prototypes, the largest mean contribution to a detection first, up or down.

        Only what lies inside its box counts.
        """
        height, width = self.detections.prototypes.shape[1:]
        x1, y1, x2, y2 = (self.detections.boxes[index] * torch.tensor((width, height) * 2)).tolist()
        rows = slice(max(floor(y1), 0), max(min(ceil(y2), height), 0))
        columns = slice(max(floor(x1), 0), max(min(ceil(x2), width), 0))
        means = self.contributions(index)[:, rows, columns].mean(dim=(1, 2)).nan_to_num()
        return means.abs().argsort(descending=True, stable=True).tolist()

    def to_dict(self) -> dict[str, Any]:
        """Numbers of JSON types: what each prototype responds to, and each object's coefficients."""
        found = self.detections
        return {
            "prototypes": [
                {"kind": role.kind, **dict(zip(KINDS, role.strengths, strict=True))}
                for role in self.roles
            ],
            "objects": [
                {
                    "name": self.result.names[int(found.labels[i])],
                    "score": float(found.scores[i]),
                    "box": self.result.boxes[i].tolist(),
                    "coefficients": found.coefficients[i].tolist(),
                    "strongest": self.strongest(i),
                }
                for i in range(len(found))
            ],
        }

    @cached_property
    def soft_masks(self) -> Tensor:
        """(N, h, w) probabilities before the crop."""
        return assemble_masks(self.detections.prototypes, self.detections.coefficients)

    @cached_property
    def cropped_masks(self) -> Tensor:
        """(N, h, w) probabilities after the crop, as they are enlarged and cut at one half."""
        found = self.detections
        return confine_masks(self.soft_masks, found.boxes, found.crop, found.crop_margin)[0]

    @cached_property
    def roles(self) -> list[PrototypeRole]:
        """What each prototype responds to, judged by the objects found."""
        return describe_prototypes(self.detections.prototypes, self.cropped_masks > 0.5)


def explain(
    model: Predictor,
    source: Source,
    *,
    score: float = DISPLAY_SCORE,
    **options: Unpack[DetectionOptions],
) -> Explanation:
    """Segment one picture and keep what is thrown away otherwise.

    Args:
        model: From :func:`yolact.load`.
        source: As for a call of the model.
        score: Only detections above it, in [0, 1].
        options: As for a call of the model.

    Raises:
        ImageError: If the picture cannot be read.
        UsageError: If a number is out of range, or the model knows no such class.
    """
    if not 0 <= score <= 1:
        raise UsageError(f"score must lie in [0, 1], not {score}.")
    picture = load_picture(source)
    images, (found,) = model.forward([picture], model.detection(**options))
    return explain_detections(model, picture, images[0], found, found.scores > score)


def explain_detections(
    model: Predictor,
    picture: NDArray[np.uint8],
    image: Tensor,
    found: Detections,
    kept: Tensor | slice = slice(None),
) -> Explanation:
    """What a model has made of one picture, as an explanation.

    Args:
        model: What detected.
        picture: (H, W, 3) RGB, as read.
        image: (3, h, w) the picture as the network's input.
        found: In it.
        kept: Which of these detections are explained.
    """
    detections = Detections(
        boxes=found.boxes[kept].cpu(),
        scores=found.scores[kept].cpu(),
        labels=found.labels[kept].cpu(),
        coefficients=found.coefficients[kept].cpu(),
        prototypes=found.prototypes.cpu(),
        mask_scores=None if found.mask_scores is None else found.mask_scores[kept].cpu(),
        crop=found.crop,
        crop_margin=found.crop_margin,
    )
    result = model.finish(detections, picture)
    return Explanation(_as_picture(image, model), detections, result)


def _as_picture(image: Tensor, model: Predictor) -> NDArray[np.uint8]:
    """The normalised input (3, H, W) as RGB uint8 (H, W, 3)."""
    values = image.permute(1, 2, 0).float().cpu().numpy()
    values = values * model.preprocessor.std + model.preprocessor.mean
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)
