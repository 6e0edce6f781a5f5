"""The pieces of an export as programs of torch: modules with examples, names and free dimensions."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from yolact.config.detection import DetectionConfig
from yolact.config.model import ModelConfig
from yolact.errors import UsageError
from yolact.export.graph import (
    FINAL_INPUTS,
    PICTURE_SIZE,
    PICTURES,
    SCORE,
    FinalGraph,
    Finish,
    Preprocess,
    RawGraph,
    final_outputs,
)
from yolact.model.build import build_anchors, prototype_size
from yolact.model.mask_scorer import MaskScorer
from yolact.model.yolact import Yolact
from yolact.runtimes.base import RAW_INPUT, RAW_OUTPUTS

FREE = ("batch", "height", "width")
"""What dimensions are called that a file leaves open."""
_DETECTIONS = ("detections", "mask_height", "mask_width")


@dataclass(frozen=True)
class Shapes:
    """What of a file's input is fixed; None leaves it open."""

    batch: int | None = None
    picture_size: tuple[int, int] | None = None
    """(height, width) of the pictures of a file with finished masks."""


@dataclass(frozen=True)
class Piece:
    """A module that can be exported: examples of its inputs, and their free dimensions by name."""

    module: nn.Module
    examples: tuple[Tensor, ...]
    free: tuple[dict[int, str], ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    found: tuple[str, ...] = FREE[:1]
    """What the free dimensions of the outputs are called, by axis."""

    def program(self) -> ExportedProgram:
        """The module as a graph."""
        dims = {name: Dim(name) for name in FREE}
        return torch.export.export(
            self.module,
            self.examples,
            dynamic_shapes=tuple({axis: dims[n] for axis, n in each.items()} for each in self.free),
            strict=False,
        )


def network_piece(network: Yolact, image_size: tuple[int, int], batch: int | None) -> Piece:
    """The network alone; it is not changed."""
    example = torch.zeros(batch or 2, 3, *image_size)
    return Piece(RawGraph(network), (example,), (_free(batch),), (RAW_INPUT,), RAW_OUTPUTS)


def preprocess_piece(model: ModelConfig, shapes: Shapes) -> Piece:
    """Pictures to the network's input."""
    return Piece(
        Preprocess(model),
        (_pictures(shapes),),
        (_free_of_pictures(shapes),),
        (PICTURES,),
        (RAW_INPUT, PICTURE_SIZE),
    )


def finish_piece(finish: Finish, batch: int | None) -> Piece:
    """The network's output to finished masks."""
    model, examples = finish.model, batch or 2
    num_anchors, k = len(build_anchors(model)), model.num_prototypes
    raw = (
        torch.zeros(examples, num_anchors, 4),
        torch.zeros(examples, num_anchors, model.num_classes + 1),
        torch.zeros(examples, num_anchors, k),
        torch.zeros(examples, k, *prototype_size(model.image_size)),
    )
    return Piece(
        finish,
        (*raw, torch.tensor(model.image_size), torch.tensor(0.5)),
        (*(_free(batch) for _ in raw), {}, {}),
        (*RAW_OUTPUTS, PICTURE_SIZE, SCORE),
        _outputs(finish),
        _DETECTIONS,
    )


def final_piece(network: Yolact, finish: Finish, shapes: Shapes) -> Piece:
    """Pictures to finished masks, all in one."""
    return Piece(
        FinalGraph(Preprocess(finish.model), RawGraph(network), finish),
        (_pictures(shapes), torch.tensor(0.5)),
        (_free_of_pictures(shapes), {}),
        FINAL_INPUTS,
        _outputs(finish),
        _DETECTIONS,
    )


def finish_of(
    model: ModelConfig,
    detection: DetectionConfig,
    mask_scorer: MaskScorer | None,
    *,
    full_size: bool,
) -> Finish:
    """What makes finished masks inside a graph.

    Raises:
        UsageError: If no graph can detect in the way that is asked for.
    """
    if detection.nms == "greedy":
        raise UsageError(
            "no graph can hold greedy NMS: choose --nms fast or cross-class, or --masks raw."
        )
    return Finish(model, detection, mask_scorer, full_size=full_size)


def _outputs(finish: Finish) -> tuple[str, ...]:
    return final_outputs(has_scorer=finish.mask_scorer is not None, full_size=finish.full_size)


def _free(batch: int | None) -> dict[int, str]:
    return _named([batch], FREE[:1])


def _free_of_pictures(shapes: Shapes) -> dict[int, str]:
    return _named([shapes.batch, *(shapes.picture_size or (None, None))], FREE)


def _named(sizes: Sequence[int | None], names: Sequence[str]) -> dict[int, str]:
    named = enumerate(zip(sizes, names, strict=True))
    return {axis: name for axis, (size, name) in named if size is None}


def _pictures(shapes: Shapes) -> Tensor:
    # Of a free dimension an example of one would be taken for all there is.
    return torch.zeros(shapes.batch or 2, *(shapes.picture_size or (90, 120)), 3, dtype=torch.uint8)
