"""Oblong and letterboxed inputs, from the command line to the finished masks."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

import yolact
from oracles import masks as oracle
from yolact.artifacts.run_directory import read_metrics
from yolact.cli.main import main
from yolact.config.detection import DetectionConfig
from yolact.config.presets import preset
from yolact.config.training import LossConfig
from yolact.data.images import read_image
from yolact.errors import UsageError
from yolact.losses.criterion import YolactCriterion
from yolact.model.build import build_yolact, prototype_size, pyramid_sizes
from yolact.ops.anchors import generate_anchors
from yolact.ops.masks import assemble_masks
from yolact.processing.postprocess import postprocess
from yolact.results import Result
from yolact.structures import Predictions, Target
from yolact.training.run import train
from yolact.training.start import read_given_weights

INPUTS = [(192, 320), (320, 192), (97, 171)]  # height, width
SCALES = [[24], [48], [64], [96], [120]]


def random_predictions(size):
    """What a network of that input might say, and its anchors."""
    random = torch.Generator().manual_seed(0)
    levels = pyramid_sizes(size)
    anchors = generate_anchors(levels, SCALES, (1, 0.5, 2), size).double()

    def normal(*shape):
        return torch.randn(1, *shape, generator=random, dtype=torch.float64)

    predictions = Predictions(
        box_offsets=normal(len(anchors), 4),
        class_logits=normal(len(anchors), 4) * 3,
        coefficients=normal(len(anchors), 5).tanh(),
        prototypes=normal(5, *prototype_size(size)).abs(),
        semantic_logits=normal(3, *levels[0]),
    )
    return predictions, anchors


def random_target(size):
    """Ellipses, of which the second is a crowd."""
    boxes = torch.tensor([[0.1, 0.2, 0.5, 0.9], [0.3, 0.1, 0.9, 0.5], [0.55, 0.5, 0.95, 0.7]])
    rows, columns = prototype_size(size)
    y = ((torch.arange(rows) + 0.5) / rows)[None, :, None]
    x = ((torch.arange(columns) + 0.5) / columns)[None, None, :]
    x1, y1, x2, y2 = boxes.T[:, :, None, None]
    inside = ((2 * x - x1 - x2) / (x2 - x1)) ** 2 + ((2 * y - y1 - y2) / (y2 - y1)) ** 2 < 1
    return Target(
        boxes.double(),
        torch.tensor([0, 2, 1]),
        inside.to(torch.uint8),
        torch.tensor([False, True, False]),
    )


def turned(values):
    """The same with x and y exchanged."""
    changes = {
        name: tensor[..., [1, 0, 3, 2]]
        if name in ("boxes", "box_offsets")
        else tensor.transpose(-1, -2)
        for name, tensor in vars(values).items()
        if name in ("boxes", "box_offsets", "masks", "prototypes", "semantic_logits")
    }
    return replace(values, **changes)


@pytest.mark.parametrize("size", INPUTS)
def test_anchors_are_in_pixels_of_both_axes(size):
    height, width = size
    anchors = generate_anchors(pyramid_sizes(size), SCALES, (1, 0.5, 2), size).double()
    pixels = anchors * torch.tensor([width, height, width, height])
    first = 0
    for (rows, columns), (scale,) in zip(pyramid_sizes(size), SCALES, strict=True):
        level = pixels[first : first + rows * columns * 3].reshape(rows, columns, 3, 4)
        first += rows * columns * 3
        for a, ratio in enumerate((1, 0.5, 2)):
            for row, column in ((0, 0), (rows - 1, 0), (rows // 2, columns - 1)):
                expected = (
                    (column + 0.5) * width / columns,
                    (row + 0.5) * height / rows,
                    scale * ratio**0.5,
                    scale / ratio**0.5,
                )
                assert level[row, column, a].tolist() == pytest.approx(expected, rel=1e-5)
    assert first == len(anchors)


@pytest.mark.parametrize("size", INPUTS)
def test_every_part_of_the_network_has_the_inputs_shape(size):
    model = build_yolact(preset("yolact-nano", ("a", "b")).resized(size).model).eval()
    with torch.inference_mode():
        predictions = model(torch.zeros(1, 3, *size), with_semantics=True)
    assert predictions.box_offsets.shape == (1, len(model.anchors), 4)
    assert predictions.prototypes.shape[-2:] == prototype_size(size)
    assert predictions.semantic_logits.shape[-2:] == pyramid_sizes(size)[0]


@pytest.mark.parametrize("size", INPUTS)
def test_losses_treat_both_axes_alike(size):
    criterion = YolactCriterion(LossConfig(max_mask_positives=1000))
    predictions, anchors = random_predictions(size)
    target = random_target(size)
    losses = criterion(predictions, (target,), anchors)
    other = criterion(turned(predictions), (turned(target),), anchors[:, [1, 0, 3, 2]])
    for term, loss in losses.items():
        assert loss > 0, term
        torch.testing.assert_close(other[term], loss)


@pytest.mark.parametrize("size", INPUTS)
@pytest.mark.parametrize(("crop", "margin"), [("hard", 0.0), ("soft", 0.3)])
def test_results_treat_both_axes_alike(size, crop, margin):
    config = DetectionConfig(max_detections=20, crop=crop, crop_margin=margin)
    predictions, anchors = random_predictions(size)
    (one,) = postprocess(predictions, anchors.float(), config)
    (other,) = postprocess(turned(predictions), anchors[:, [1, 0, 3, 2]].float(), config)
    lying = Result.from_detections(one, (60, 100), "abc")
    standing = Result.from_detections(other, (100, 60), "abc")
    np.testing.assert_array_equal(lying.scores, standing.scores)
    np.testing.assert_allclose(lying.boxes, standing.boxes[:, [1, 0, 3, 2]], atol=1e-3)
    masks, twins = lying.masks.numpy(), standing.masks.numpy().transpose(0, 2, 1)
    assert masks.any()
    assert (masks != twins).sum() <= masks.sum() / 1000  # sums are rounded in another order


def test_masks_of_an_oblong_input_pixel_by_pixel():
    size = (97, 171)
    predictions, anchors = random_predictions(size)
    (found,) = postprocess(predictions, anchors.float(), DetectionConfig(max_detections=3))
    soft = assemble_masks(found.prototypes, found.coefficients).tolist()
    masks = Result.from_detections(found, (40, 70), "abc").masks.numpy()
    for mask, box, bitmap in zip(soft, found.boxes.tolist(), masks, strict=True):
        expected = np.array(oracle.resize(oracle.crop(mask, box), (40, 70)))
        clear = np.abs(expected - 0.5) > 1e-5
        np.testing.assert_array_equal(bitmap[clear], (expected > 0.5)[clear])


@pytest.fixture(scope="module")
def oblong_run(command, tiny_data, tmp_path_factory):
    """A run of the command, letterboxed to 96x64."""
    folder = tmp_path_factory.mktemp("oblong") / "run"
    done = command(
        "train", tiny_data, "--size", "96x64", "--letterbox", "--steps", 4, "--batch-size", 4,
        "--workers", 0, "--validations", 1, "--out", folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def test_the_run_and_its_model_know_their_input(oblong_run, capsys):
    config = yaml.safe_load((oblong_run / "config.yaml").read_text())["model"]
    assert (config["image_size"], config["letterbox"]) == ([64, 96], True)
    nano = preset("yolact-nano").resized((64, 64)).model.anchors
    assert config["anchors"]["scales"] == [list(level) for level in nano.scales]
    assert main(["models", "info", str(oblong_run)]) == 0
    printed = capsys.readouterr().out
    assert "input: 96x64 pixels (width x height), pictures letterboxed, " in printed
    assert main(["models", "info", str(oblong_run), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["input_size"], document["letterbox"]) == ([64, 96], True)


def test_training_evaluation_and_prediction_agree(command, oblong_run, tiny_data, tmp_path):
    logged = read_metrics(oblong_run / "metrics.jsonl")[-1]
    printed = json.loads(command("eval", oblong_run, tiny_data, "--json").stdout)
    assert printed["mask"]["ap"] == pytest.approx(logged["mask/ap"], abs=1e-6)
    assert printed["box"]["ap"] == pytest.approx(logged["box/ap"], abs=1e-6)

    image = tiny_data / "images" / "val_00000.jpg"
    done = command(
        "predict", oblong_run, image, "--out", tmp_path, "--score", 0.01, "--json",
        "--save", "overlay,json,coco,masks,crops",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)["results"]
    model = yolact.load(oblong_run, device="cpu")
    assert model.preprocessor.letterbox
    assert result == model(str(image), score=0.01).to_dict()
    # 128x96 pixels in 96x64: two thirds of its size, with bars of 5.3 pixels at the sides.
    (shown,) = model.preprocessor([read_image(image)])
    assert shown[:, :, :5].eq(0).all()
    assert shown[:, :, 91:].eq(0).all()
    assert shown[:, :, 5:91].any(dim=0).all()


def test_a_run_keeps_its_input(tiny_data, oblong_run):
    for changed in ({"size": 96}, {"size": "64x96"}, {"letterbox": False}):
        with pytest.raises(UsageError, match="sees pictures letterboxed to 96x64, which a resumed"):
            train(tiny_data, out=oblong_run, resume=True, **changed)
    given = read_given_weights(str(oblong_run), None)
    assert given.recipe(("other",)).model.letterbox
    assert given.recipe(("other",)).model.image_size == (64, 96)


@pytest.mark.parametrize(
    ("size", "said"),
    [("wide", "written like 320 or like 320x240"), ("640x32", "an input of 640x32 is too small")],
)
def test_impossible_inputs(tiny_data, tmp_path, size, said):
    with pytest.raises(UsageError, match=said):
        train(tiny_data, size=size, out=tmp_path / "x")
