from statistics import median

import numpy as np
import pytest
import torch

from yolact.errors import CheckpointError, UsageError
from yolact.inference.mask_rcnn import MaskRcnn
from yolact.inference.timing.measure import measure_together

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (96, 128, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def mask_rcnn() -> MaskRcnn:
    return MaskRcnn(device=CPU, short_side=64)


def test_mask_rcnn_has_stages_that_pool_for_each_box(mask_rcnn, picture):
    (line,) = measure_together([mask_rcnn], [picture], repeats=2, objects=5)
    pooled = [stage.name for stage in line.stages if stage.per_object]
    assert pooled == ["pool boxes", "box head", "pool masks", "mask head"]
    assert all(stage.seconds > 0 for stage in line.stages)
    assert line.num_objects == 5
    assert line.image_size == (64, 96)  # 64 x 85, filled up to a multiple of 32
    assert line.model == "maskrcnn-resnet50 at 64"


def test_what_mask_rcnn_finds_is_what_torchvision_says(mask_rcnn, picture):
    network = mask_rcnn._network
    (result,) = mask_rcnn.detect([picture])
    with torch.inference_mode():
        (found,) = network([torch.from_numpy(picture).permute(2, 0, 1) / 255])
    from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights

    names = MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]  # a table: nothing is fetched
    wanted = [names[label] for label in found["labels"]]
    known = [place for place, name in enumerate(wanted) if name != "N/A"]
    assert [result.names[label] for label in result.labels] == [wanted[i] for i in known]
    np.testing.assert_array_equal(result.scores, found["scores"][known])
    masks = (found["masks"][known, 0] > 0.5).numpy()
    np.testing.assert_array_equal(result.masks.numpy(), masks)
    assert median(masks.sum((1, 2))) > 0


def test_weights_of_mask_rcnn_come_from_a_file(mask_rcnn, picture, tmp_path):
    state = mask_rcnn._network.state_dict()
    state["roi_heads.box_predictor.cls_score.bias"] = torch.zeros(91)
    # Torchvision's frozen batch norm saves no counters.
    saved = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    torch.save(saved, tmp_path / "coco.pth")
    loaded = MaskRcnn(device=CPU, weights=tmp_path / "coco.pth", short_side=64)
    for key, tensor in loaded._network.state_dict().items():
        assert torch.equal(tensor, state[key]), key
    del saved["backbone.body.conv1.weight"]
    torch.save(saved, tmp_path / "half.pth")
    with pytest.raises(CheckpointError, match=r"half\.pth does not fit .*conv1\.weight"):
        MaskRcnn(device=CPU, weights=tmp_path / "half.pth", short_side=64)


def test_an_input_that_is_too_small_is_refused():
    with pytest.raises(UsageError, match="a shorter side of 8 is too small"):
        MaskRcnn(device=CPU, short_side=8)
