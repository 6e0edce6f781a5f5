"""Golden values of the specification's Appendix A, which anyone can make again from formulas.

They are the original's, float32 on a CPU, printed to six digits. Other convolution kernels round
differently, hence 1e-4 of each tensor's deviation, and what follows from it for sums and losses.
"""

from dataclasses import dataclass
from types import SimpleNamespace
from zlib import crc32

import numpy as np
import pytest
import torch

from yolact.artifacts.artifact import load_weights
from yolact.artifacts.original_weights import rename_original_weights
from yolact.config.detection import DetectionConfig
from yolact.config.presets import COCO_CLASSES, preset
from yolact.config.training import LossConfig
from yolact.losses.criterion import YolactCriterion
from yolact.losses.matching import match_anchors
from yolact.model.build import build_yolact
from yolact.ops.box_coding import encode_boxes
from yolact.processing.postprocess import postprocess
from yolact.processing.preprocess import Preprocessor
from yolact.results import Result
from yolact.structures import Target


@dataclass(frozen=True)
class Expected:
    """What Appendix A prints for one model."""

    statistics: dict[str, tuple[float, float, float, float]]
    """Mean, standard deviation, first and last element."""
    sums: dict[str, float]
    losses: dict[str, float]


EXPECTED = {
    "yolact_resnet50": Expected(
        statistics={
            "input": (0.213311, 1.28426, 2.24723, -0.595775),
            "C3": (1.0747, 1.26267, 0, 2.75539),
            "C4": (1.24656, 1.40472, 0.811626, 0.666744),
            "C5": (1.18321, 1.51115, 1.2973, 0.141131),
            "P3": (2.36056, 3.67517, 1.6975, 0),
            "P4": (2.28604, 3.15753, 0, 2.49127),
            "P5": (1.6924, 2.33798, 4.68845, 1.38165),
            "P6": (-0.0211125, 4.11059, -2.72218, 1.41371),
            "P7": (0.236087, 5.24221, 0.541597, 4.60888),
            "proto": (3.26873, 4.38405, 0, 2.07262),
            "loc": (0.245709, 1.80593, 0.789804, 0.135006),
            "conf": (-0.0502372, 3.16241, 1.94275, 4.26792),
            "mask": (0.00621536, 0.862177, -0.720237, 0.987297),
            "segm": (0.112326, 5.97382, -2.2417, -3.30539),
        },
        sums={"loc": 18917.591, "conf": -78324.249, "mask": 3828.2646, "proto": 1991988.7},
        losses={"box": 9.45086, "mask": 157.885, "class": 55.6477, "semantic": 207.747},
    ),
    "yolact_base": Expected(
        statistics={
            "input": (0.213311, 1.28426, 2.24723, -0.595775),
            "C3": (1.0747, 1.26267, 0, 2.75539),
            "C4": (2.81944, 2.60933, 0, 0),
            "C5": (2.58294, 3.12955, 1.47141, 0),
            "P3": (4.03332, 6.2759, 0.242059, 0),
            "P4": (4.75817, 6.6104, 0, 0),
            "P5": (3.76653, 5.27075, 3.45595, 0),
            "P6": (0.0828749, 9.54685, -5.17454, 0.357743),
            "P7": (0.565606, 11.9168, -1.25012, 10.6937),
            "proto": (5.84577, 7.57776, 0, 6.23518),
            "loc": (-0.240248, 3.42676, 0.927189, 2.09641),
            "conf": (-0.246211, 5.62438, -1.82882, 12.509),
            "mask": (0.0715017, 0.921705, -0.936856, 0.910154),
            "segm": (-0.822643, 9.59292, -1.0128, 2.92232),
        },
        sums={"loc": -18497.206, "conf": -383865.15, "mask": 44040.481, "proto": 3562457.1},
        losses={"box": 22.1039, "mask": 220.491, "class": 90.8821, "semantic": 289.428},
    ),
}

GRADIENT_NORMS = {  # of yolact_resnet50
    "proto_net.0.weight": 136.957,
    "proto_net.10.weight": 60.4312,
    "prediction_layers.0.mask_layer.weight": 1051.33,
    "prediction_layers.0.conf_layer.weight": 974.178,
    "fpn.lat_layers.0.weight": 965.489,
}


def values_of(key: str, shape: list[int]) -> np.ndarray:
    if key.endswith("num_batches_tracked"):
        return np.zeros((), dtype=np.int64)
    random = np.random.RandomState(crc32(key.encode("ascii")) & 0x7FFFFFFF)
    z = random.standard_normal(int(np.prod(shape))).reshape(shape)
    if key.endswith("running_mean"):
        values = 0.1 * z
    elif key.endswith("running_var"):
        values = 1 + 0.1 * np.abs(z)
    elif len(shape) == 1 and key.endswith(".weight"):
        values = 0.05 * z + (0.25 if ".bn3." in key or ".conv2.1." in key else 1)
    elif len(shape) == 1:
        values = 0.05 * z
    else:
        values = z * np.sqrt(2 / np.prod(shape[1:]))
        if "conv_offset_mask" in key or "bbox_layer" in key:
            values *= 0.3
        if "conf_layer" in key or "mask_layer" in key:
            values *= 0.5
    return values.astype(np.float32)


def picture() -> np.ndarray:
    """480 x 640 in blue, green, red."""
    y, x, c = np.ogrid[:480, :640, :3]
    return np.abs(((2 + c) * y + (3 - c) * x) % 510 - 255).astype(np.uint8)


def objects() -> Target:
    """Three rectangles, each without its top left quadrant."""
    rectangles = [(55, 66, 247, 330), (220, 165, 286, 242), (303, 275, 522, 506)]
    masks = torch.zeros(3, 550, 550, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, rectangles, strict=True):
        mask[y1:y2, x1:x2] = 1
        mask[y1 : (y1 + y2) // 2, x1 : (x1 + x2) // 2] = 0
    return Target(
        boxes=torch.tensor(
            [(0.10, 0.12, 0.45, 0.60), (0.40, 0.30, 0.52, 0.44), (0.55, 0.50, 0.95, 0.92)]
        ),
        labels=torch.tensor([3, 17, 0]),
        masks=masks,
        is_crowd=torch.zeros(3, dtype=torch.bool),
    )


@pytest.fixture(scope="module", params=EXPECTED)
def run(request, formula):
    """One forward pass, its losses, and for yolact_resnet50 the gradients."""
    original = request.param
    weights = {
        key: torch.from_numpy(values_of(key, shape))
        for key, shape in formula.layouts[original].items()
    }
    config = preset(original.replace("_", "-")).model
    model = build_yolact(config).eval()
    load_weights(model, rename_original_weights(weights, original), original)
    model.backbone.requires_grad_(False)

    seen = {}
    model.backbone.register_forward_hook(
        lambda _module, _inputs, levels: seen.update(zip(("C3", "C4", "C5"), levels, strict=True))
    )
    model.fpn.register_forward_hook(
        lambda _module, _inputs, levels: seen.update(
            zip(("P3", "P4", "P5", "P6", "P7"), levels, strict=True)
        )
    )
    images = Preprocessor(config)([picture()[..., ::-1]])
    with torch.set_grad_enabled(original == "yolact_resnet50"):
        predictions = model(images, with_semantics=True)
        losses = YolactCriterion(LossConfig())(predictions, (objects(),), model.anchors)
    if original == "yolact_resnet50":
        sum(losses.values()).backward()
    seen.update(
        input=images,
        proto=predictions.prototypes.permute(0, 2, 3, 1),  # [h, w, k] as in the appendix
        loc=predictions.box_offsets,
        conf=predictions.class_logits,
        mask=predictions.coefficients,
        segm=predictions.semantic_logits,
    )
    return SimpleNamespace(
        name=original,
        expected=EXPECTED[original],
        seen={name: tensor.detach() for name, tensor in seen.items()},
        predictions=predictions,
        losses=losses,
        model=model,
        weights=weights,
    )


def test_the_formulas_are_those_of_the_appendix(formula):
    bgr = picture()
    assert bgr.sum() == 117_080_090
    assert bgr[240, 320].tolist() == [165, 85, 5]
    for key, start in (
        ("backbone.conv1.weight", (0.13206098, 0.13840095, 0.1668721)),
        ("proto_net.10.weight", (0.05512256, -0.047967)),
    ):
        values = values_of(key, formula.layouts["yolact_resnet50"][key]).reshape(-1)
        np.testing.assert_allclose(values[: len(start)], start, rtol=1e-6)


def test_statistics_of_every_tensor(run):
    for name, expected in run.expected.statistics.items():
        tensor = run.seen[name].double()
        flat = tensor.reshape(-1)
        actual = (tensor.mean(), tensor.std(), flat[0], flat[-1])
        assert [value.item() for value in actual] == pytest.approx(
            expected, abs=1e-4 * expected[1], rel=1e-5
        ), name


def test_sums_of_the_predictions(run):
    for name, expected in run.expected.sums.items():
        assert run.seen[name].double().sum().item() == pytest.approx(expected, rel=1e-4), name


def test_losses(run):
    for name, expected in run.expected.losses.items():
        assert run.losses[name].item() == pytest.approx(expected, rel=1e-4), name


def test_matching(run):
    anchors, target = run.model.anchors, objects()
    assignment = match_anchors(anchors, target.boxes, torch.zeros(0, 4))
    assert assignment.is_positive.sum() == 20
    assert assignment.is_ignored.sum() == 25
    positive = assignment.is_positive
    encoded = encode_boxes(target.boxes[assignment.matched[positive]], anchors[positive])
    assert encoded.double().sum().item() == pytest.approx(-3.984377, abs=1e-5)


@pytest.mark.parametrize("run", ["yolact_resnet50"], indirect=True)
def test_gradient_norms(run):
    ours = dict(run.model.named_parameters())
    # The tensors of the original that ours were loaded from are told apart by their identity.
    names = {id(tensor): name for name, tensor in rename_original_weights(run.weights, "").items()}
    for key, expected in GRADIENT_NORMS.items():
        gradient = ours[names[id(run.weights[key])]].grad
        assert gradient.norm().item() == pytest.approx(expected, rel=1e-4), key


@pytest.mark.parametrize("run", ["yolact_resnet50"], indirect=True)
def test_detections_and_masks(run):
    config = DetectionConfig()
    with torch.no_grad():
        scores = run.predictions.class_logits[0].softmax(-1)[:, 1:].amax(dim=1)
        assert abs(int((scores > 0.05).sum()) - 19246) <= 1
        found = postprocess(run.predictions, run.model.anchors, config)[0]

    assert len(found) == 100
    assert found.labels[:2].tolist() == [41, 41]
    assert found.scores[:2].tolist() == pytest.approx([0.998530, 0.998504], abs=2e-6)
    expected = torch.tensor(
        [(0.604721, 0.443968, 0.643822, 0.495795), (0.146373, 0.848712, 0.186444, 0.898053)]
    )
    torch.testing.assert_close(found.boxes[:2].detach(), expected, atol=2e-6, rtol=0)
    assert found.scores.double().sum().item() == pytest.approx(99.675720, abs=1e-4)
    assert found.labels.sum() == 4028

    result = Result.from_detections(found, (480, 640), COCO_CLASSES)
    assert result.boxes[:2].astype(int).tolist() == [[387, 213, 412, 237], [93, 407, 119, 431]]
    assert abs(int(result.masks.numpy().sum()) - 7087) <= 3
