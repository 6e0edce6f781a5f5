import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from yolact.config.model import ModelConfig
from yolact.config.presets import PRESETS, preset
from yolact.config.serialize import (
    TRAINING_RECIPES,
    load_recipe,
    merged,
    recipe_to_dict,
    with_settings,
    with_training_recipe,
)
from yolact.config.training import TrainingConfig, fine_tuning
from yolact.errors import UsageError

CLASSES = ("cat", "dog")
CONFIGS = Path(__file__).parents[3] / "configs"


@pytest.mark.parametrize("name", PRESETS)
def test_round_trip(name):
    recipe = preset(name, CLASSES)
    recipe = replace(
        recipe,
        training=replace(recipe.training, max_time="00:10:00", gradient_clip=10.0),
    )
    plain = recipe_to_dict(recipe)
    assert json.loads(json.dumps(plain)) == plain  # no tuples, nothing but JSON
    other = preset("yolact-nano" if name != "yolact-nano" else "yolact-base", ("other",))
    for document in (plain, json.loads(json.dumps(plain)), yaml.safe_load(yaml.safe_dump(plain))):
        assert merged(other, document, "test") == recipe


def test_nested_changes_leave_the_rest():
    recipe = preset("yolact-nano", CLASSES)
    changed = merged(
        recipe,
        {"training": {"loss": {"mask_weight": 1.0}}, "model": {"anchors": {"ratios": [1.0, 2.0]}}},
        "test",
    )
    assert changed.training.loss.mask_weight == 1.0
    assert changed.training.loss.class_weight == 5.0
    assert changed.model.anchors.ratios == (1.0, 2.0)
    assert changed.model.anchors.scales == recipe.model.anchors.scales
    assert changed.detection == recipe.detection
    assert recipe == preset("yolact-nano", CLASSES)


def test_no_changes():
    recipe = preset("yolact-base", CLASSES)
    assert merged(recipe, {}, "test") == recipe


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modle": {}}, "file.yaml: there is no setting modle; known are .*'model'"),
        ({"training": {"lr": 0.1}}, "file.yaml: training: there is no setting lr"),
        ({"training": {"loss": {"box": 1}}}, "file.yaml: training: loss: there is no setting box"),
        ({"training": None}, "file.yaml: training must hold keys and values"),
        ({"training": 3}, "file.yaml: training must hold keys and values"),
        ({"training": {"batch_size": "many"}}, "file.yaml: training: "),
        ({"model": {"image_size": 320}}, "file.yaml: model: "),
        ({"model": {"image_size": [8, 8]}}, "too small"),
        ({"model": {"image_size": [64, 64, 3]}}, "file.yaml: model: image_size cannot be"),
        ({"model": {"class_names": "cat"}}, "class_names cannot be 'cat'"),
        ({"model": {"class_names": []}}, "non-empty list"),
        (
            {"model": {"anchors": {"scales": [[8, "x"]]}}},
            "file.yaml: model: anchors: scales cannot",
        ),
        ({"model": {"block": "dense"}}, "block cannot be 'dense'"),
        ({"training": {"optimizer": "adam"}}, "optimizer cannot be 'adam'"),
        ({"training": {"weight_decay": "little"}}, "weight_decay cannot be 'little'"),
        ({"training": {"batch_size": 8.5}}, "batch_size cannot be 8.5"),
        ({"training": {"workers": True}}, "workers cannot be True"),
        ({"detection": {"iou_threshold": 7}}, "iou_threshold must lie in"),
    ],
)
def test_refused_changes(changes, message):
    with pytest.raises(UsageError, match=message):
        merged(preset("yolact-nano", CLASSES), changes, "file.yaml")


def test_whole_numbers_and_nothing_are_numbers():
    recipe = preset("yolact-base", CLASSES)
    changed = merged(recipe, {"training": {"gradient_clip": 10, "steps": None}}, "test")
    assert (changed.training.gradient_clip, changed.training.steps) == (10, None)


def test_a_power_of_ten_is_a_number_for_people():
    # YAML 1.1 takes it for a text.
    changes = yaml.safe_load("training:\n  learning_rate: 1e-4\n  gradient_clip: 1e1\n")
    recipe = merged(preset("yolact-nano", CLASSES), changes, "file.yaml")
    assert (recipe.training.learning_rate, recipe.training.gradient_clip) == (1e-4, 10.0)


def test_scales_written_as_whole_numbers_follow_the_size():
    recipe = load_recipe(str(CONFIGS / "nuclei.yaml"), ("nucleus",)).resized((160, 160))
    assert recipe.model.anchors.scales[0] == (5.0, 8.0)


def test_a_size_takes_the_anchors_along(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text("base: yolact-nano\nsize: 160\n")
    assert load_recipe(str(path), CLASSES) == preset("yolact-nano", CLASSES).resized((160, 160))
    path.write_text("base: yolact-nano\nsize: 160x96\nmodel: {letterbox: true}\n")
    lying = load_recipe(str(path), CLASSES).model
    assert (lying.image_size, lying.letterbox) == ((96, 160), True)
    assert lying.anchors == preset("yolact-nano", CLASSES).resized((96, 96)).model.anchors
    path.write_text("base: yolact-nano\nsize: big\n")
    with pytest.raises(UsageError, match=r"small.yaml: a size is written like .* not 'big'"):
        load_recipe(str(path), CLASSES)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_recipes_load(path):
    if path.stem in TRAINING_RECIPES:
        recipe = with_training_recipe(preset("yolact-nano", CLASSES), str(path))
    else:
        recipe = load_recipe(str(path), CLASSES)
    assert recipe.model.class_names == CLASSES


def test_a_preset_by_name():
    assert load_recipe("yolact-base", CLASSES) == preset("yolact-base", CLASSES)
    with pytest.raises(UsageError, match="no model is called 'yolact'"):
        load_recipe("yolact", CLASSES)


def test_a_recipe_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("base: yolact-nano\nmodel:\n  image_size: [64, 96]\ntraining:\n  epochs: 3\n")
    recipe = load_recipe(str(path), CLASSES)
    base = preset("yolact-nano", CLASSES)
    assert recipe == replace(
        base,
        model=replace(base.model, image_size=(64, 96)),
        training=replace(base.training, epochs=3),
    )
    assert isinstance(recipe.model, ModelConfig)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {}\n", "must name its base: one of yolact-nano, "),
        ("", "must name its base"),
        ("- base\n", "must name its base"),
        ("base: yolact-huge\n", "no model is called 'yolact-huge'"),
        ("base: [unclosed\n", "not readable YAML"),
        ("base: yolact-nano\nspeed: 3\n", "mine.yml: there is no setting speed"),
    ],
)
def test_broken_recipe_files(tmp_path, text, message):
    path = tmp_path / "mine.yml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        load_recipe(str(path), CLASSES)


def test_a_recipe_file_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match=r"there is no recipe file .*gone\.yaml"):
        load_recipe(str(tmp_path / "gone.yaml"), CLASSES)


def test_a_recipe_file_overrides_the_schedule_of_fine_tuning(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("base: yolact-nano\ntraining: {warmup_steps: 7, freeze: [backbone, fpn]}\n")
    tuned = load_recipe(str(path), CLASSES, fine_tune=True).training
    expected = fine_tuning(preset("yolact-nano", CLASSES).training)
    assert tuned == replace(expected, warmup_steps=7, freeze=("backbone", "fpn"))
    assert load_recipe("yolact-nano", CLASSES, fine_tune=True).training == expected


# --- Recipes for training -------------------------------------------------------------------------


def test_the_built_in_recipes_change_augmentation_and_averaging_alone():
    base = preset("yolact-base", CLASSES)
    original, modern = (with_training_recipe(base, name) for name in TRAINING_RECIPES)
    assert original == base  # which is the paper's
    assert modern.training.mosaic > 0
    assert modern.training.copy_paste > 0
    assert modern.training.closing > 0
    changed = {"augmentation", "copy_paste", "mosaic", "closing", "ema_decay"}
    for name, value in vars(base.training).items():
        assert (getattr(modern.training, name) == value) or name in changed
    assert (modern.model, modern.detection) == (base.model, base.detection)


def test_a_recipe_of_ones_own(tmp_path):
    path = tmp_path / "mine.yml"
    path.write_text(
        "training: {steps: 300, mosaic: 0.5, loss: {mask_weight: 3}}\n"
        "detection: {max_detections: 7}\n"
    )
    base = preset("yolact-nano", CLASSES)
    changed = with_training_recipe(base, str(path))
    loss = replace(base.training.loss, mask_weight=3)
    training = replace(base.training, epochs=None, steps=300, mosaic=0.5, loss=loss)
    assert changed == replace(
        base, training=training, detection=replace(base.detection, max_detections=7)
    )
    path.write_text("detection: {max_detections: 7}\n")
    assert with_training_recipe(base, str(path)).training == base.training


@pytest.mark.parametrize(
    ("settings", "length"),
    [
        ({"steps": 5}, (None, 5, None)),
        ({"epochs": 2.0}, (2.0, None, None)),
        ({"max_time": "00:01:00"}, (None, None, "00:01:00")),
        ({"steps": 5, "max_time": "00:01:00"}, (None, 5, "00:01:00")),
        ({"epochs": None, "steps": 5}, (None, 5, None)),
        ({"mosaic": 0.1}, (3.0, None, None)),
    ],
)
def test_one_length_replaces_another(settings, length):
    training = with_settings(TrainingConfig(epochs=3.0), settings, "settings")
    assert (training.epochs, training.steps, training.max_time) == length


def test_two_lengths_are_refused():
    with pytest.raises(UsageError, match="in epochs or in steps, not both"):
        with_settings(TrainingConfig(epochs=3.0), {"epochs": 2.0, "steps": 5}, "settings")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: yolact-nano\n", "mine.yaml names a base, so it is a model's recipe"),
        ("model: {}\n", "mine.yaml: a recipe for training has no model, only training and"),
        ("training: {mosiac: 1}\n", "mine.yaml: training: there is no setting mosiac"),
        ("training: {mosaic: lots}\n", "mine.yaml: training: mosaic cannot be 'lots'"),
        ("training: {mosaic: 2.0}\n", "mosaic must lie in"),
        ("training: 3\n", "mine.yaml: training must hold keys and values"),
        ("detection: {scores: 1}\n", "mine.yaml: detection: there is no setting scores"),
        ("- training\n", "mine.yaml must hold keys and values"),
        ("", "mine.yaml must hold keys and values"),
        ("a: [unclosed\n", "mine.yaml is not readable YAML"),
    ],
)
def test_broken_recipes_for_training(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        with_training_recipe(preset("yolact-nano", CLASSES), str(path))


def test_a_recipe_for_training_that_is_not_there(tmp_path):
    base = preset("yolact-nano", CLASSES)
    with pytest.raises(
        UsageError, match="no training recipe is called 'modrn'; there are original"
    ):
        with_training_recipe(base, "modrn")
    with pytest.raises(UsageError, match=r"there is no recipe file .*gone\.yaml"):
        with_training_recipe(base, str(tmp_path / "gone.yaml"))
