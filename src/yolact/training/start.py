"""What a run begins with: random weights, ImageNet's in the backbone, or another model's."""

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from yolact.artifacts.metadata import ArtifactMetadata
from yolact.artifacts.original_weights import read_backbone_weights
from yolact.artifacts.transfer import load_backbone, transfer_weights
from yolact.config.model import ModelConfig
from yolact.config.presets import PRESETS, Recipe, preset
from yolact.config.serialize import merged
from yolact.config.training import TrainingConfig, fine_tuning
from yolact.inference.load import model_file, read_model
from yolact.model.build import build_yolact
from yolact.model.yolact import Yolact


@dataclass(frozen=True)
class GivenWeights:
    """The weights of a whole model and what it says about itself."""

    source: str
    tensors: dict[str, Tensor]
    metadata: ArtifactMetadata

    @property
    def name(self) -> str:
        """What the model was called when it was trained or imported: a preset, or a recipe file."""
        return str(self.metadata.provenance.get("model") or self.source)

    def recipe(self, class_names: tuple[str, ...]) -> Recipe:
        """Its architecture for other classes, and its way of training as fine-tuning."""
        base = preset(self.name).training if self.name in PRESETS else TrainingConfig()
        training = merged(base, self.metadata.provenance.get("training", {}), self.source)
        model = replace(self.metadata.model, class_names=class_names)
        return Recipe(model, fine_tuning(training), self.metadata.detection)


@dataclass(frozen=True)
class Start:
    """A network before its first step."""

    network: Yolact
    random: frozenset[str]
    """Names of the tensors that begin, wholly or in part, at random."""
    provenance: dict[str, Any]
    """Where the others come from, for the model's record."""

    @property
    def has_given_batch_norm(self) -> bool:
        """Whether every batch norm begins with statistics of pictures, so that it may stay fixed."""
        return not any(name.endswith("running_var") for name in self.random)


def read_given_weights(source: str, model: str | None) -> GivenWeights:
    """Read whatever ``load`` reads: a run directory, an artifact, a ``.pth``, or a published name.

    Args:
        source: The model to start from.
        model: Which preset an original file is of, where several have its keys and shapes.

    Raises:
        CheckpointError: If there is no such model, or its file is broken.
    """
    path = model_file(source)
    if path is not None and model in PRESETS:
        return GivenWeights(source, *read_model(model, weights=path))
    return GivenWeights(source, *read_model(source))


def first_weights(
    config: ModelConfig,
    *,
    given: GivenWeights | None = None,
    imagenet: bool = False,
    backbone_file: str | os.PathLike[str] | None = None,
) -> Start:
    """Build a network and fill it from the one source that is named, or draw every weight.

    What is taken from where, and what is not, is said on stderr.

    Args:
        config: The architecture.
        given: Another model of this architecture. Rows for classes it does not know are drawn.
        imagenet: The backbone's weights come from timm's cache, or are fetched.
        backbone_file: They come from this file of the original's.

    Raises:
        UsageError: If there are no ImageNet weights for the backbone.
        CheckpointError: If weights cannot be read or fetched, or are of another architecture.
    """
    if imagenet:
        _say(f"ImageNet weights of {config.backbone}: from timm's cache, else by a download")
    network = build_yolact(config, pretrained_backbone=imagenet)
    names = frozenset(network.state_dict())
    outside = frozenset(name for name in names if not name.startswith("backbone."))
    if given is not None:
        random, record = _take_over(network, given, config.class_names)
        return Start(network, frozenset(random), record)
    if backbone_file is not None:
        missing = load_backbone(
            network, read_backbone_weights(Path(backbone_file)), str(backbone_file)
        )
        _say(f"starting with the backbone in {backbone_file}")
        if missing:
            _say(f"not in {backbone_file}, and initialised anew: {', '.join(missing)}")
        record = {"backbone": str(backbone_file), "initialised": missing}
        return Start(network, outside | set(missing), record)
    if imagenet:
        return Start(network, outside, {"backbone": "ImageNet, from timm"})
    return Start(network, names, {})


def _take_over(
    network: Yolact, given: GivenWeights, class_names: tuple[str, ...]
) -> tuple[list[str], dict[str, Any]]:
    source, old_names = given.source, given.metadata.model.class_names
    random = transfer_weights(network, given.tensors, old_names, class_names, source)
    new = [name for name in class_names if name not in old_names]
    text = "every weight is taken over"
    if random:
        text = f"it does not know {', '.join(new)}: their rows are random in {', '.join(random)}"
    _say(f"starting from {source}; {text}")
    return random, {"weights": source, "initialised": random, "new_classes": new}


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
