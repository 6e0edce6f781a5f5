import pytest
import torch
from torch import nn
from torch.nn import functional as F

from yolact.config.model import ModelConfig
from yolact.model.build import build_yolact

PARTS = ("box_offsets", "class_logits", "coefficients", "prototypes", "semantic_logits")


@pytest.fixture(scope="module", params=["plain", "light"])
def model(request):
    torch.manual_seed(0)
    config = ModelConfig(
        class_names=("a", "b", "c"),
        backbone="resnet18",
        image_size=(64, 96),
        fpn_channels=16,
        protonet_channels=12,
        head_channels=20,
        num_prototypes=4,
        block=request.param,
    )
    return build_yolact(config)


@pytest.fixture
def images():
    return torch.randn(3, 3, 64, 96, generator=torch.Generator().manual_seed(1))


def test_evaluation_and_training_predict_the_same(model, images):
    """With frozen batch norms, which are all that may differ."""
    with torch.inference_mode():
        evaluated = model.eval()(images, with_semantics=True)
        model.train()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        trained = model(images, with_semantics=True)
    assert type(evaluated) is type(trained)
    for part in PARTS:
        assert torch.equal(getattr(evaluated, part), getattr(trained, part)), part


def test_training_mode_gives_the_same_shapes(model, images):
    with torch.inference_mode():
        trained, evaluated = model.train()(images), model.eval()(images)
    for part in PARTS[:4]:
        assert getattr(trained, part).shape == getattr(evaluated, part).shape


def test_pictures_of_a_batch_do_not_meet(model, images):
    model.eval()
    with torch.inference_mode():
        together = model(images, with_semantics=True)
        for i in range(len(images)):
            alone = model(images[i : i + 1], with_semantics=True)
            for part in PARTS:
                torch.testing.assert_close(
                    getattr(together, part)[i], getattr(alone, part)[0], atol=1e-4, rtol=1e-4
                )


def test_semantics_only_when_asked_for(model, images):
    model.eval()
    with torch.inference_mode():
        without, with_semantics = model(images), model(images, with_semantics=True)
    assert without.semantic_logits is None
    assert with_semantics.semantic_logits.shape == (3, 3, 8, 12)
    assert torch.equal(without.class_logits, with_semantics.class_logits)


def test_ranges_of_the_predictions(model, images):
    with torch.inference_mode():
        predictions = model.eval()(images)
    assert predictions.coefficients.abs().max() <= 1
    assert predictions.prototypes.min() >= 0
    assert predictions.class_logits.min() < 0  # logits, not probabilities


def test_prototypes_may_stay_linear(model, images):
    with torch.inference_mode():
        rectified = model.eval()(images).prototypes
        model.protonet.rectified = False
        linear = model(images).prototypes
    assert linear.min() < 0
    assert torch.equal(linear.clamp(min=0), rectified)


def test_only_the_coarsest_levels_are_not_rectified(model, images):
    with torch.inference_mode():
        levels = model.eval().fpn(model.backbone(images))
    assert [bool(level.min() < 0) for level in levels] == [False, False, False, True, True]


def test_the_top_down_path_is_bilinear(model, images):
    fpn = model.eval().fpn
    with torch.inference_mode():
        features = model.backbone(images)
        lateral = [layer(x) for layer, x in zip(fpn.laterals, features, strict=True)]
        p5 = F.relu(fpn.outputs[2](lateral[2]))
        resized = F.interpolate(lateral[2], features[1].shape[-2:], mode="bilinear")
        p4 = F.relu(fpn.outputs[1](lateral[1] + resized))
        levels = fpn(features)
    torch.testing.assert_close(levels[1], p4)
    torch.testing.assert_close(levels[2], p5)


def test_predictions_are_in_the_order_of_the_anchors(model, images):
    """Level by level; in one, anchor a of cell (row, column) is at (row * width + column) * 3 + a."""
    maps = []
    hooks = [
        layer.register_forward_hook(lambda _layer, _inputs, output: maps.append(output))
        for layer in (model.head.boxes, model.head.classes, model.head.coefficients)
    ]
    with torch.inference_mode():
        predictions = model.eval()(images)
    for hook in hooks:
        hook.remove()
    boxes, classes, coefficients = (maps[i::3] for i in range(3))
    row, column, anchor = 2, 1, 2
    for ordered, levels in (
        (predictions.box_offsets, boxes),
        (predictions.class_logits, classes),
        (predictions.coefficients, [torch.tanh(level) for level in coefficients]),
    ):
        values = ordered.shape[-1]
        assert levels[1].shape == (3, 3 * values, 4, 6)  # P4
        place = 3 * 8 * 12 + (row * 6 + column) * 3 + anchor  # after all anchors of P3
        expected = levels[1][:, anchor * values : (anchor + 1) * values, row, column]
        torch.testing.assert_close(ordered[:, place], expected)


def test_every_weight_gets_a_gradient(model, images):
    model.train().zero_grad()
    predictions = model(images, with_semantics=True)
    sum(getattr(predictions, part).square().sum() for part in PARTS).backward()
    without = [name for name, weight in model.named_parameters() if weight.grad is None]
    assert without == []
