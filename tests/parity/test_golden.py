"""Values frozen from the original implementation (see the README beside them)."""

import numpy as np
import pytest
import torch
from PIL import Image

from yolact.artifacts.artifact import load_weights
from yolact.artifacts.original_weights import rename_original_weights
from yolact.config.detection import DetectionConfig
from yolact.config.presets import preset
from yolact.config.training import LossConfig
from yolact.losses.criterion import YolactCriterion
from yolact.losses.matching import BACKGROUND, IGNORED, match_anchors
from yolact.model.build import build_yolact
from yolact.model.mask_scorer import MaskScorer
from yolact.processing.postprocess import select_detections
from yolact.processing.preprocess import Preprocessor
from yolact.structures import Predictions, Target


def assert_within_deviation(actual, expected, tolerance=1e-4):
    """Largest difference, as a share of the expected values' standard deviation."""
    expected = torch.as_tensor(np.asarray(expected, dtype=np.float32))
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max() <= tolerance * expected.std()


def load(npz):
    return dict(np.load(npz))


@pytest.mark.parametrize("original", ["yolact_resnet50", "yolact_im400", "yolact_plus_resnet50"])
def test_network_equals_the_original(golden, formula, original):
    expected = load(golden / f"network_{original}.npz")
    recipe = preset(original.replace("_", "-"))
    model = build_yolact(recipe.model).eval()
    load_weights(model, rename_original_weights(formula.checkpoint(original), original), original)
    image = np.asarray(Image.open(golden / "image_480x640.png").convert("RGB"))
    images = Preprocessor(recipe.model)([image])
    assert_within_deviation(images[0, :, ::25, ::25], expected["input_sample"])

    with torch.inference_mode():
        predictions = model(images, with_semantics=True)

    step = int(expected["prior_step"])
    assert len(model.anchors) == int(expected["num_priors"])
    assert torch.equal(model.anchors[::step], torch.from_numpy(expected["priors"]))
    assert_within_deviation(predictions.box_offsets[0, ::step], expected["loc"])
    probabilities = predictions.class_logits.softmax(-1)
    assert_within_deviation(probabilities[0, ::step], expected["conf_softmax"])
    assert_within_deviation(predictions.coefficients[0, ::step], expected["coefficients"])
    step = int(expected["proto_step"])
    prototypes = predictions.prototypes[0].permute(1, 2, 0)
    assert tuple(prototypes.shape) == tuple(expected["proto_shape"])
    assert_within_deviation(prototypes[::step, ::step], expected["proto"])
    assert_within_deviation(
        predictions.semantic_logits[0, ::4, ::3, ::3], expected["semantic_logits"]
    )
    assert (model.mask_scorer is not None) == ("maskiou_input" in expected)
    if model.mask_scorer is not None:
        soft = torch.from_numpy(expected["maskiou_input"].astype(np.float32))
        with torch.inference_mode():
            ious = model.mask_scorer(soft.reshape(1, 138, 138))
        assert_within_deviation(ious.reshape(-1), expected["maskiou_output"].reshape(-1))


def golden_detections(golden, config=None):
    values = load(golden / "detection.npz")
    tensor = {
        key: torch.from_numpy(values[key].astype(np.float32))
        for key in ("priors", "loc", "conf_softmax", "coefficients", "proto")
    }
    found = select_detections(
        tensor["loc"],
        tensor["conf_softmax"][:, 1:],
        tensor["coefficients"],
        tensor["proto"].permute(2, 0, 1),
        tensor["priors"],
        config or DetectionConfig(),
    )
    return values, found


def test_detection_equals_the_original(golden):
    values, found = golden_detections(golden)
    assert found.labels.tolist() == values["fast_classes"].tolist()
    np.testing.assert_allclose(found.scores, values["fast_scores"], rtol=1e-6)
    np.testing.assert_allclose(found.boxes, values["fast_boxes"], atol=1e-6)


def test_cross_class_detection_equals_the_original(golden):
    config = DetectionConfig(nms="cross-class", max_detections=200)
    values, found = golden_detections(golden, config)
    assert found.labels.tolist() == values["cross_classes"].tolist()
    np.testing.assert_allclose(found.scores, values["cross_scores"], rtol=1e-6)
    np.testing.assert_allclose(found.boxes, values["cross_boxes"], atol=1e-6)


def golden_losses(path):
    values = load(path)
    tensor = {
        key: torch.from_numpy(values[key].astype(np.float32)).requires_grad_()
        for key in ("loc", "conf_logits", "coefficients", "proto", "semantic_logits")
    }
    targets = []
    for i in range(2):
        boxes_labels = torch.from_numpy(values[f"target_{i}_boxes_labels"].astype(np.float32))
        masks = np.unpackbits(values[f"target_{i}_masks_packed"], axis=-1)[..., :550]
        is_crowd = torch.zeros(len(boxes_labels), dtype=torch.bool)
        crowds = int(values["num_crowds"][i])
        is_crowd[len(boxes_labels) - crowds :] = True
        targets.append(
            Target(
                boxes=boxes_labels[:, :4],
                labels=boxes_labels[:, 4].long(),
                masks=torch.from_numpy(masks),
                is_crowd=is_crowd,
            )
        )
    predictions = Predictions(
        box_offsets=tensor["loc"],
        class_logits=tensor["conf_logits"],
        coefficients=tensor["coefficients"],
        prototypes=tensor["proto"].permute(0, 3, 1, 2),
        semantic_logits=tensor["semantic_logits"],
    )
    anchors = torch.from_numpy(values["priors"].astype(np.float32))
    return values, tensor, predictions, tuple(targets), anchors


@pytest.mark.parametrize("original", ["yolact_resnet50", "yolact_plus_resnet50"])
def test_matching_and_losses_equal_the_original(golden, formula, original):
    values, inputs, predictions, targets, anchors = golden_losses(golden / f"loss_{original}.npz")
    for i, target in enumerate(targets):
        crowd = target.is_crowd
        matched = match_anchors(anchors, target.boxes[~crowd], target.boxes[crowd]).matched
        expected_class = torch.from_numpy(values[f"match_{i}_class"]).long()
        expected = torch.from_numpy(values[f"match_{i}_gt"]).long()
        expected = torch.where(expected_class == 0, BACKGROUND, expected)
        expected = torch.where(expected_class == -1, IGNORED, expected)
        assert torch.equal(matched, expected)
        positive = matched >= 0
        assert torch.equal(target.labels[matched[positive]] + 1, expected_class[positive])

    terms = {"box": "B", "class": "C", "mask": "M", "semantic": "S"}
    scorer = None
    if original == "yolact_plus_resnet50":
        terms["mask_iou"] = "I"
        scorer = mask_scorer(formula, original)
    losses = YolactCriterion(LossConfig())(predictions, targets, anchors, scorer)
    assert set(losses) == set(terms)
    for ours, theirs in terms.items():
        assert losses[ours].item() == pytest.approx(float(values[f"loss_{theirs}"]), rel=1e-4), ours
    sum(losses.values()).backward()
    gradients = {
        "loc": "loc",
        "conf": "conf_logits",
        "mask": "coefficients",
        "proto": "proto",
        "segm": "semantic_logits",
    }
    for name, leaf in ((name, inputs[key]) for name, key in gradients.items()):
        assert leaf.grad.norm().item() == pytest.approx(
            float(values[f"grad_norm_{name}"]), rel=1e-4
        ), name
    if scorer is not None:
        norm = torch.cat([p.grad.flatten() for p in scorer.parameters()]).norm()
        assert norm.item() == pytest.approx(float(values["grad_norm_maskiou_net"]), rel=1e-4)


def mask_scorer(formula, original):
    """The re-scoring net alone, with the formula's weights."""
    scorer = MaskScorer(80)
    renamed = rename_original_weights(formula.checkpoint(original), original)
    prefix = "mask_scorer."
    own = {key.removeprefix(prefix): v for key, v in renamed.items() if key.startswith(prefix)}
    scorer.load_state_dict(own)
    return scorer
