"""The record that travels inside every trained model: enough to rebuild and run it."""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from yolact.config.detection import DetectionConfig
from yolact.config.model import AnchorConfig, ModelConfig
from yolact.errors import CheckpointError, YolactError

FORMAT_VERSION = 1


@dataclass(frozen=True)
class ArtifactMetadata:
    """What an artifact says about itself."""

    model: ModelConfig
    detection: DetectionConfig = field(default_factory=DetectionConfig)
    category_ids: tuple[int, ...] = ()
    """The data set's id of each label, so that results can be written in its terms."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """How the weights came to be: what the model is called (``model``), version, data. For people."""

    def to_json(self) -> str:
        """One JSON object with the format's version."""
        return json.dumps({"format": FORMAT_VERSION, **asdict(self)}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, source: str) -> "ArtifactMetadata":
        """Read what :meth:`to_json` wrote.

        Raises:
            CheckpointError: If the record is of another version or does not make sense; the
                message names ``source``.
        """
        try:
            record = json.loads(text)
            version = record.pop("format")
            if version != FORMAT_VERSION:
                raise CheckpointError(
                    f"{source} has format {version}, this version reads {FORMAT_VERSION}."
                )
            model = _tuples(record["model"])
            model["anchors"] = AnchorConfig(**model["anchors"])
            unknown = set(record) - {f.name for f in fields(cls)}
            if unknown:
                raise CheckpointError(f"{source} has unknown metadata: {sorted(unknown)}.")
            return cls(
                model=ModelConfig(**model),
                detection=DetectionConfig(**_tuples(record["detection"])),
                category_ids=tuple(record["category_ids"]),
                provenance=_renamed(record["provenance"]),
            )
        except CheckpointError:
            raise
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            RecursionError,
            YolactError,
        ) as error:
            raise CheckpointError(f"{source} has a broken metadata record: {error}") from error


def _renamed(provenance: dict[str, Any]) -> dict[str, Any]:
    # Imported models once said ``architecture`` where trained ones say ``model``.
    return {"model" if key == "architecture" else key: v for key, v in provenance.items()}


def _tuples(value: Any) -> Any:
    # JSON has lists only; frozen configurations hold tuples.
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return value
