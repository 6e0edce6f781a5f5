"""Golden values of the specification's Appendix A, which anyone can make again from formulas.

They are the original's, float32 on a CPU, printed to six digits. Other convolution kernels round
differently, hence 1e-4 of each tensor's deviation, and what follows from it for sums and losses.
"""

from dataclasses import dataclass, field
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
    positives: int = 20
    ignored: int = 25
    encoded_boxes: float = -3.984377
    """Sum of the box targets of the positives."""
    gradient_norms: dict[str, float] = field(default_factory=dict)
    """Of the summed loss, by the original's names."""
    detections: "ExpectedDetections | None" = None


@dataclass(frozen=True)
class ExpectedDetections:
    """What Fast NMS and post-processing to 640 x 480 make of the predictions."""

    candidates: int
    """Anchors with a score above 0.05."""
    labels: list[int]
    """Of the first."""
    scores: list[float]
    boxes: list[tuple[float, ...]]
    sum_of_scores: float
    sum_of_labels: int
    pixel_boxes: list[list[int]]
    mask_pixels: list[int]
    """Of the first masks, where the appendix has them."""
    sum_of_mask_pixels: int
    mask_scores: list[float] | None = None
    sum_of_mask_scores: float | None = None


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
        gradient_norms={
            "proto_net.0.weight": 136.957,
            "proto_net.10.weight": 60.4312,
            "prediction_layers.0.mask_layer.weight": 1051.33,
            "prediction_layers.0.conf_layer.weight": 974.178,
            "fpn.lat_layers.0.weight": 965.489,
        },
        detections=ExpectedDetections(
            candidates=19246,
            labels=[41, 41],
            scores=[0.998530, 0.998504],
            boxes=[
                (0.604721, 0.443968, 0.643822, 0.495795),
                (0.146373, 0.848712, 0.186444, 0.898053),
            ],
            sum_of_scores=99.675720,
            sum_of_labels=4028,
            pixel_boxes=[[387, 213, 412, 237], [93, 407, 119, 431]],
            mask_pixels=[],
            sum_of_mask_pixels=7087,
        ),
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
    "yolact_darknet53": Expected(
        statistics={
            "input": (0.498196, 0.288197, 0.999679, 0.273547),
            "C3": (0.792545, 0.520142, 0.194099, 0.662794),
            "C4": (1.72085, 1.18479, 0.681997, 1.46819),
            "C5": (2.06887, 2.04667, 2.0334, -0.0673185),
            "P3": (2.90562, 4.39999, 0, 2.53116),
            "P4": (2.63144, 4.27646, 0, 4.80655),
            "P5": (2.529, 3.65362, 0, 6.41546),
            "P6": (0.0873728, 6.2505, -0.182283, -8.74718),
            "P7": (-0.0951671, 8.01203, -3.91052, 7.02093),
            "proto": (3.09751, 3.95344, 0, 1.53587),
            "loc": (0.345932, 2.18832, 0.30338, 1.9889),
            "conf": (-0.0797351, 3.38729, -0.925255, 4.34169),
            "mask": (0.0738957, 0.876388, -0.785622, 0.500618),
            "segm": (0.617091, 7.10562, -6.37197, -0.719843),
        },
        sums={"loc": 26634.011, "conf": -124314.09, "mask": 45515.018, "proto": 1887646.7},
        losses={"box": 11.2424, "mask": 108.694, "class": 54.4892, "semantic": 260.253},
        detections=ExpectedDetections(
            candidates=19247,
            labels=[33, 33, 33, 8],
            scores=[0.999994, 0.999865, 0.997638, 0.989017],
            boxes=[
                (-0.564103, -0.218340, 1.751325, 1.234956),
                (-0.056409, 0.084220, 1.918784, 0.978966),
                (0.369592, 0.728663, 1.347911, 1.352374),
                (0.145009, 0.777077, 0.437110, 1.441217),
            ],
            sum_of_scores=92.405090,
            sum_of_labels=3549,
            pixel_boxes=[[0, 0, 640, 480], [0, 40, 640, 469], [236, 349, 640, 480]],
            mask_pixels=[307200, 280960, 52597, 21056, 50279],
            sum_of_mask_pixels=2_744_130,
        ),
    ),
    "yolact_plus_resnet50": Expected(
        statistics={
            "input": (0.213311, 1.28426, 2.24723, -0.595775),
            "C3": (0.92683, 1.19936, 0, 2.55441),
            "C4": (0.908273, 1.16625, 0.757395, 0.235989),
            "C5": (0.82833, 1.16123, 2.66915, 0.0273957),
            "P3": (1.86197, 2.9418, 0.791158, 0),
            "P4": (1.77595, 2.49606, 0, 0.649098),
            "P5": (1.27772, 1.7452, 3.08157, 0.534212),
            "P6": (-0.00854155, 3.14944, -2.69101, -0.870295),
            "P7": (0.249072, 4.03329, 1.56986, 3.71768),
            "proto": (2.51345, 3.38921, 0, 2.10978),
            "loc": (0.259988, 1.47923, 0.486942, -0.370619),
            "conf": (-0.127908, 2.50684, 1.55564, -0.122466),
            "mask": (-0.00311888, 0.820237, -0.510877, 0.2282),
            "segm": (0.137771, 4.8137, -3.1707, -3.25128),
        },
        sums={"loc": 60050.98, "conf": -598257.63, "mask": -5763.0933, "proto": 1531715.2},
        losses={
            "box": 6.7311,
            "mask": 75.1383,
            "class": 57.1073,
            "semantic": 169.72,
            "mask_iou": 2.45844,
        },
        positives=52,
        ignored=146,
        encoded_boxes=-19.023708,
        gradient_norms={
            "proto_net.0.weight": 220.692,
            "proto_net.10.weight": 101.059,
            "prediction_layers.0.mask_layer.weight": 713.814,
            "prediction_layers.0.conf_layer.weight": 602.862,
            "fpn.lat_layers.0.weight": 631.671,
        },
        detections=ExpectedDetections(
            candidates=57719,
            labels=[29, 29],
            scores=[0.996464, 0.996238],
            boxes=[
                (0.829961, 0.297833, 0.893958, 0.436481),
                (0.349620, 0.721304, 0.417876, 0.858264),
            ],
            sum_of_scores=98.868401,
            sum_of_labels=3826,
            pixel_boxes=[[531, 142, 572, 209]],
            mask_pixels=[0, 1015, 1113, 407, 0],
            sum_of_mask_pixels=37_398,
            mask_scores=[0.0, 0.178759, 0.083971],
            sum_of_mask_scores=8.008611,
        ),
    ),
    "yolact_plus_base": Expected(
        statistics={"C5": (1.9143, 2.3434, 2.38546, 0)},
        sums={"loc": 73853.695, "conf": -1242727.9, "mask": 19007.778, "proto": 2799066.3},
        losses={
            "box": 12.5575,
            "mask": 117.905,
            "class": 110.49,
            "semantic": 230.123,
            "mask_iou": 1.73153,
        },
        positives=52,
        ignored=146,
        encoded_boxes=-19.023708,
    ),
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


def having(part: str) -> list[str]:
    """The models for which the appendix has it."""
    return [name for name, expected in EXPECTED.items() if getattr(expected, part)]


@pytest.fixture(scope="module", params=EXPECTED)
def run(request, formula):
    """One forward pass, its losses, and the gradients where the appendix has some."""
    original, expected = request.param, EXPECTED[request.param]
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
    with torch.set_grad_enabled(bool(expected.gradient_norms)):
        predictions = model(images, with_semantics=True)
        losses = YolactCriterion(LossConfig())(
            predictions, (objects(),), model.anchors, model.mask_scorer
        )
    if expected.gradient_norms:
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
        expected=expected,
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
    assert set(run.losses) == set(run.expected.losses)
    for name, expected in run.expected.losses.items():
        assert run.losses[name].item() == pytest.approx(expected, rel=1e-4), name


def test_matching(run):
    anchors, target = run.model.anchors, objects()
    assignment = match_anchors(anchors, target.boxes, torch.zeros(0, 4))
    assert assignment.is_positive.sum() == run.expected.positives
    assert assignment.is_ignored.sum() == run.expected.ignored
    positive = assignment.is_positive
    encoded = encode_boxes(target.boxes[assignment.matched[positive]], anchors[positive])
    assert encoded.double().sum().item() == pytest.approx(run.expected.encoded_boxes, abs=1e-5)


@pytest.mark.parametrize("run", having("gradient_norms"), indirect=True)
def test_gradient_norms(run):
    ours = dict(run.model.named_parameters())
    # The tensors of the original that ours were loaded from are told apart by their identity.
    names = {id(tensor): name for name, tensor in rename_original_weights(run.weights, "").items()}
    for key, expected in run.expected.gradient_norms.items():
        gradient = ours[names[id(run.weights[key])]].grad
        assert gradient.norm().item() == pytest.approx(expected, rel=1e-4), key


@pytest.mark.parametrize("run", having("detections"), indirect=True)
def test_detections_and_masks(run):
    expected = run.expected.detections
    with torch.no_grad():
        scores = run.predictions.class_logits[0].softmax(-1)[:, 1:].amax(dim=1)
        assert abs(int((scores > 0.05).sum()) - expected.candidates) <= 1
        (found,) = postprocess(
            run.predictions, run.model.anchors, DetectionConfig(), run.model.mask_scorer
        )

    assert len(found) == 100
    first = len(expected.labels)
    assert found.labels[:first].tolist() == expected.labels
    assert found.scores[:first].tolist() == pytest.approx(expected.scores, abs=2e-6)
    torch.testing.assert_close(found.boxes[:first], torch.tensor(expected.boxes), atol=2e-6, rtol=0)
    assert found.scores.double().sum().item() == pytest.approx(expected.sum_of_scores, abs=1e-4)
    assert found.labels.sum() == expected.sum_of_labels

    result = Result.from_detections(found, (480, 640), COCO_CLASSES)
    first = len(expected.pixel_boxes)
    assert result.boxes[:first].astype(int).tolist() == expected.pixel_boxes
    pixels = result.masks.area()
    few = max(3, 2e-5 * expected.sum_of_mask_pixels)
    assert abs(pixels.sum() - expected.sum_of_mask_pixels) <= few
    for i, area in enumerate(expected.mask_pixels):
        assert abs(pixels[i] - area) <= 3
    if expected.mask_scores is None:
        assert found.mask_scores is None
    else:
        first = len(expected.mask_scores)
        assert found.mask_scores[:first].tolist() == pytest.approx(expected.mask_scores, abs=2e-6)
        total = found.mask_scores.double().sum().item()
        assert total == pytest.approx(expected.sum_of_mask_scores, abs=1e-4)
