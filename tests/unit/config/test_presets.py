from dataclasses import replace

import pytest

from yolact.config.presets import COCO_CATEGORY_IDS, COCO_CLASSES, PASCAL_CLASSES, PRESETS, preset
from yolact.errors import UsageError


def test_the_classes_of_coco():
    assert len(COCO_CLASSES) == len(set(COCO_CLASSES)) == 80
    assert COCO_CLASSES[0] == "person"
    assert COCO_CLASSES[16] == "dog"
    assert COCO_CLASSES[79] == "toothbrush"
    ids = dict(zip(COCO_CLASSES, COCO_CATEGORY_IDS, strict=True))
    assert (ids["person"], ids["stop sign"], ids["toothbrush"]) == (1, 13, 90)


def test_the_classes_of_pascal():
    assert len(set(PASCAL_CLASSES)) == 20
    assert list(PASCAL_CLASSES) == sorted(PASCAL_CLASSES)
    assert (PASCAL_CLASSES[0], PASCAL_CLASSES[14]) == ("aeroplane", "person")
    assert PASCAL_CLASSES[19] == "tvmonitor"


def test_names():
    assert set(PRESETS) == {
        "yolact-nano",
        "yolact-resnet50",
        "yolact-base",
        "yolact-im400",
        "yolact-im700",
        "yolact-darknet53",
        "yolact-resnet50-pascal",
        "yolact-plus-base",
        "yolact-plus-resnet50",
    }


@pytest.mark.parametrize(
    ("name", "backbone", "size", "scales", "max_mask_positives"),
    [
        ("yolact-resnet50", "resnet50", 550, (24, 48, 96, 192, 384), 100),
        ("yolact-base", "resnet101", 550, (24, 48, 96, 192, 384), 100),
        ("yolact-darknet53", "darknet53", 550, (24, 48, 96, 192, 384), 100),
        ("yolact-im400", "resnet101", 400, (17, 34, 69, 139, 279), 100),
        ("yolact-im700", "resnet101", 700, (30, 61, 122, 244, 488), 300),
    ],
)
def test_published_models(name, backbone, size, scales, max_mask_positives):
    recipe = preset(name)
    assert recipe.model.class_names == COCO_CLASSES
    assert recipe.model.num_classes == 80
    assert recipe.model.backbone == backbone
    assert recipe.model.image_size == (size, size)
    assert recipe.model.anchors.scales == tuple((scale,) for scale in scales)
    assert recipe.model.anchors.ratios == (1, 0.5, 2)
    assert recipe.model.anchors.square
    assert recipe.model.block == "plain"
    assert not recipe.model.mask_rescoring
    assert recipe.model.deformable_interval == 0
    assert recipe.model.num_prototypes == 32
    assert (recipe.model.fpn_channels, recipe.model.protonet_channels) == (256, 256)

    training, loss = recipe.training, recipe.training.loss
    assert training.steps == 800_000
    assert [step * 800_000 for step in training.lr_steps] == [280_000, 600_000, 700_000, 750_000]
    assert (training.optimizer, training.schedule, training.batch_size) == ("sgd", "steps", 8)
    assert (training.learning_rate, training.momentum, training.weight_decay) == (1e-3, 0.9, 5e-4)
    assert training.warmup_steps == 500
    assert (loss.box_weight, loss.class_weight, loss.mask_weight) == (1.5, 1, 6.125)
    assert loss.semantic_weight == 1
    assert (loss.positive_iou, loss.negative_iou, loss.crowd_iou) == (0.5, 0.4, 0.7)
    assert loss.negatives_per_positive == 3
    assert loss.max_mask_positives == max_mask_positives

    detection = recipe.detection
    assert (detection.score_threshold, detection.iou_threshold) == (0.05, 0.5)
    assert (detection.top_k, detection.max_detections) == (200, 100)


def test_pascal():
    recipe, coco = preset("yolact-resnet50-pascal"), preset("yolact-resnet50")
    assert recipe.model.class_names == PASCAL_CLASSES
    assert recipe.model.anchors.scales == ((32,), (64,), (128,), (256,), (512,))
    assert recipe.model.anchors.ratios == (1, 0.5, 2)
    assert not recipe.model.anchors.square
    assert recipe.training.steps == 120_000
    assert [step * 120_000 for step in recipe.training.lr_steps] == [60_000, 100_000]
    assert replace(recipe.model, class_names=COCO_CLASSES, anchors=coco.model.anchors) == coco.model
    assert replace(recipe.training, steps=800_000, lr_steps=coco.training.lr_steps) == coco.training


@pytest.mark.parametrize(
    ("name", "plain", "interval"),
    [("yolact-plus-base", "yolact-base", 3), ("yolact-plus-resnet50", "yolact-resnet50", 1)],
)
def test_plus(name, plain, interval):
    recipe, older = preset(name), preset(plain)
    anchors = recipe.model.anchors
    assert anchors.num_per_cell == 9
    assert anchors.ratios == (1, 0.5, 2)
    assert not anchors.square
    for level, scale in zip(anchors.scales, (24, 48, 96, 192, 384), strict=True):
        assert level == pytest.approx((scale, scale * 1.259921, scale * 1.587401))
    assert recipe.model.mask_rescoring
    assert recipe.model.deformable_interval == interval
    assert recipe.training == older.training
    assert recipe.training.loss.mask_iou_weight == 25
    assert recipe.detection == older.detection
    alike = replace(
        recipe.model, anchors=older.model.anchors, mask_rescoring=False, deformable_interval=0
    )
    assert alike == older.model


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_takes_other_classes(name):
    recipe = preset(name, ["cat", "dog"])
    assert recipe.model.class_names == ("cat", "dog")
    assert recipe.model.num_classes == 2


def test_resized_to_an_oblong():
    recipe = preset("yolact-resnet50").resized((550, 1100))
    assert recipe.model.image_size == (550, 1100)
    assert recipe.model.anchors == preset("yolact-resnet50").model.anchors
    lower = preset("yolact-resnet50").resized((275, 1100))
    assert lower.model.anchors.scales == ((12,), (24,), (48,), (96,), (192,))
    plus = preset("yolact-plus-base").resized((275, 275)).model.anchors
    assert plus.scales[0] == pytest.approx((12, 15.119053, 19.048813))


@pytest.mark.parametrize("name", PRESETS)
def test_resized_to_its_own_size_is_the_same(name):
    recipe = preset(name)
    assert recipe.resized(recipe.model.image_size) == recipe


def test_resized_leaves_the_recipe_alone():
    recipe = preset("yolact-base")
    recipe.resized((128, 128))
    assert recipe == preset("yolact-base")


def test_unknown_name():
    with pytest.raises(
        UsageError, match="no model is called 'yolact-huge'; there are yolact-nano, "
    ):
        preset("yolact-huge")
