import pytest
import torch

from lively import lively
from yolact.artifacts.record import ExportRecord
from yolact.errors import CheckpointError


def test_a_record_comes_back():
    weights = {"project.weight": torch.arange(6.0).reshape(2, 3)}
    record = ExportRecord(lively().metadata, "final", "int8", weights)
    again = ExportRecord.from_properties(record.to_properties() | {"other": "text"}, "x")
    assert (again.metadata, again.masks, again.precision) == (record.metadata, "final", "int8")
    torch.testing.assert_close(again.mask_scorer, weights, rtol=0, atol=0)
    bare = ExportRecord(lively().metadata, "raw")
    assert ExportRecord.from_properties(bare.to_properties(), "x") == bare


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"yolact": ""}, "model.onnx holds a network but no yolact model record"),
        ({"yolact": "{}"}, "model.onnx has a broken metadata record"),
        ({"yolact_masks": "half"}, "yolact_masks must be one of final, raw, not half"),
        ({"yolact_precision": "int3"}, "yolact_precision must be one of float32, int8"),
        ({"yolact_mask_scorer": "?"}, "broken weights"),
        ({"yolact_mask_scorer": "AAAA"}, "broken weights"),
    ],
)
def test_a_broken_record_is_one_sentence(changes, message):
    properties = ExportRecord(lively().metadata, "raw").to_properties() | changes
    with pytest.raises(CheckpointError, match=message):
        ExportRecord.from_properties(properties, "model.onnx")


def test_a_model_that_judges_masks_needs_its_judge():
    metadata = lively("yolact-plus-resnet50", backbone="resnet26", size=(64, 64)).metadata
    properties = ExportRecord(metadata, "raw").to_properties()
    with pytest.raises(CheckpointError, match="lacks the weights that judge"):
        ExportRecord.from_properties(properties, "x")
