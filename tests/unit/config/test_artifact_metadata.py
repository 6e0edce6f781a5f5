"""The record of a model holds its configuration, so its round trip is a matter of configuration."""

import json
from dataclasses import replace

import pytest

from yolact.artifacts.metadata import ArtifactMetadata
from yolact.config.detection import DetectionConfig
from yolact.config.presets import PRESETS, preset
from yolact.errors import CheckpointError


@pytest.mark.parametrize("name", PRESETS)
def test_round_trip(name):
    metadata = ArtifactMetadata(
        model=preset(name, ("Maß", "犬")).model,
        detection=DetectionConfig(max_detections=300, nms="greedy", labels=(0,)),
        category_ids=(3, 90),
        provenance={"steps": 12, "data": {"images": ["a", "b"]}, "map": 0.5},
    )
    assert ArtifactMetadata.from_json(metadata.to_json(), "test") == metadata


def test_records_from_before_letterboxes_are_of_stretched_pictures():
    model = preset("yolact-nano", ("a",)).model
    record = json.loads(ArtifactMetadata(replace(model, letterbox=True)).to_json())
    assert ArtifactMetadata.from_json(json.dumps(record), "test").model.letterbox
    del record["model"]["letterbox"]
    assert ArtifactMetadata.from_json(json.dumps(record), "test").model == model


def test_records_of_models_imported_before_say_model_where_they_said_architecture():
    metadata = ArtifactMetadata(preset("yolact-nano", ("a",)).model, provenance={"source": "x.pth"})
    record = json.loads(metadata.to_json())
    record["provenance"]["architecture"] = "yolact-nano"
    read = ArtifactMetadata.from_json(json.dumps(record), "test")
    assert read.provenance == {"source": "x.pth", "model": "yolact-nano"}


def broken(**changes):
    record = json.loads(ArtifactMetadata(model=preset("yolact-nano", ("a",)).model).to_json())
    return json.dumps({**record, **changes})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "file has a broken metadata record"),
        ("[]", "file has a broken metadata record"),
        ("null", "file has a broken metadata record"),
        ("{}", "file has a broken metadata record"),
        (broken(format=2), "file has format 2, this version reads 1"),
        (broken(colour="red"), r"unknown metadata: \['colour'\]"),
        (broken(model={"class_names": ["a"]}), "broken metadata record"),
        (broken(detection={"iou_threshold": 7}), "broken metadata record: iou_threshold"),
        (broken(detection={"speed": 7}), "broken metadata record"),
        (broken(category_ids=None), "broken metadata record"),
    ],
)
def test_broken_records(text, message):
    with pytest.raises(CheckpointError, match=message):
        ArtifactMetadata.from_json(text, "file")
