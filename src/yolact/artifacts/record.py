"""The record inside an exported file: all that makes a finished model of a bare network.

It travels as a few named texts, which each format keeps in its own way: ONNX as ``metadata_props``,
OpenVINO as ``rt_info`` under ``yolact``, torch.export as extra files.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from yolact.artifacts.metadata import ArtifactMetadata
from yolact.config.export import FileMasks, FilePrecision
from yolact.errors import CheckpointError

METADATA, MASKS, PRECISION, MASK_SCORER = PROPERTIES = (
    "yolact",
    "yolact_masks",
    "yolact_precision",
    "yolact_mask_scorer",
)


@dataclass(frozen=True)
class ExportRecord:
    """What an exported file says about itself."""

    metadata: ArtifactMetadata
    masks: FileMasks
    precision: FilePrecision = "float32"
    mask_scorer: dict[str, Tensor] | None = None
    """Weights of the network that judges masks (YOLACT++), which no raw graph holds."""

    def to_properties(self) -> dict[str, str]:
        """The same as named texts."""
        properties = {
            METADATA: self.metadata.to_json(),
            MASKS: self.masks,
            PRECISION: self.precision,
        }
        if self.mask_scorer is not None:
            weights = {k: v.detach().cpu().contiguous() for k, v in self.mask_scorer.items()}
            properties[MASK_SCORER] = base64.b64encode(save(weights)).decode("ascii")
        return properties

    @classmethod
    def from_properties(cls, properties: Mapping[str, str], source: str) -> "ExportRecord":
        """Read what :meth:`to_properties` wrote; other texts are left alone.

        Raises:
            CheckpointError: If the record is missing or broken; the message names ``source``.
        """
        if not properties.get(METADATA):
            raise CheckpointError(f"{source} holds a network but no yolact model record.")
        metadata = ArtifactMetadata.from_json(properties[METADATA], source)
        encoded = properties.get(MASK_SCORER)
        if metadata.model.mask_rescoring and not encoded:
            raise CheckpointError(f"{source} lacks the weights that judge its masks.")
        return cls(
            metadata=metadata,
            masks=_one_of(FileMasks, properties, MASKS, source),
            precision=_one_of(FilePrecision, properties, PRECISION, source),
            mask_scorer=_weights(encoded, source) if encoded else None,
        )


def onnx_properties(model: Any) -> dict[str, str]:
    """The named texts of an ``onnx.ModelProto``."""
    return {entry.key: entry.value for entry in model.metadata_props}


def openvino_properties(model: Any) -> dict[str, str]:
    """The named texts of an ``openvino.Model``."""
    paths = {name: [METADATA, name] for name in PROPERTIES}
    return {
        name: model.get_rt_info(path).astype(str)
        for name, path in paths.items()
        if model.has_rt_info(path)
    }


def _one_of(kind: Any, properties: Mapping[str, str], name: str, source: str) -> Any:
    value = properties.get(name)
    if value not in get_args(kind):
        raise CheckpointError(
            f"{source}: {name} must be one of {', '.join(get_args(kind))}, not {value}."
        )
    return value


def _weights(encoded: str, source: str) -> dict[str, Tensor]:
    try:
        return load(base64.b64decode(encoded, validate=True))
    except (binascii.Error, SafetensorError, ValueError) as error:
        raise CheckpointError(f"{source} has broken weights that judge its masks.") from error
