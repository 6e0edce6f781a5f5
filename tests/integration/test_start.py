"""Where a run's first weights come from: another model, an original file, ImageNet."""

import json
import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from yolact.artifacts.artifact import read_artifact
from yolact.artifacts.original_weights import read_backbone_weights
from yolact.config.presets import preset
from yolact.config.training import fine_tuning
from yolact.errors import CheckpointError, UsageError
from yolact.model.build import build_yolact
from yolact.training.run import train
from yolact.training.start import first_weights, read_given_weights

SHORT = {"batch_size": 4, "workers": 0, "validations": 1}
RESNET18 = """
base: yolact-resnet50
size: 64
model: {backbone: resnet18, fpn_channels: 8, protonet_channels: 8, head_channels: 8}
"""


@pytest.fixture(scope="module")
def other_data(tiny_data, tmp_path_factory):
    """The same pictures with seven of the ten classes, two of them under new names."""
    folder = tmp_path_factory.mktemp("other") / "data"
    (folder / "annotations").mkdir(parents=True)
    (folder / "images").symlink_to(tiny_data / "images")
    for split in ("train", "val"):
        document = json.loads((tiny_data / f"annotations/instances_{split}.json").read_text())
        document["categories"] = document["categories"][3:]
        document["categories"][1]["name"] = "cup"
        document["categories"][4]["name"] = "wheel"
        kept = {category["id"] for category in document["categories"]}
        document["annotations"] = [a for a in document["annotations"] if a["category_id"] in kept]
        (folder / f"annotations/instances_{split}.json").write_text(json.dumps(document))
    return folder


@pytest.fixture(scope="module")
def names(other_data):
    document = json.loads((other_data / "annotations/instances_val.json").read_text())
    return [category["name"] for category in document["categories"]]


def read_checkpoint(folder):
    state = torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]
    return {
        name.removeprefix("model."): tensor
        for name, tensor in state.items()
        if name.startswith("model.")  # beside it there is the moving average
    }


def changed(folder, source):
    """Parts of the network with a tensor that is not bit for bit that of ``source``."""
    before, _ = read_artifact(source / "best.safetensors")
    after = read_checkpoint(folder)
    return {name.split(".")[0] for name in after if not torch.equal(after[name], before[name])}


def test_command_fine_tunes_on_other_classes(command, tiny_run, other_data, names, tmp_path):
    done = command(
        "train", other_data, "--weights", tiny_run, "--steps", 1, "--batch-size", 4,
        "--workers", 0, "--validations", 1, "--json", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "fine-tuned"
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["model"]["class_names"] == names
    assert config["model"]["image_size"] == [96, 96]  # that of the model it starts from
    expected = fine_tuning(preset("yolact-nano").training)
    assert config["training"]["learning_rate"] == expected.learning_rate
    assert config["training"]["warmup_steps"] == expected.warmup_steps
    assert config["training"]["optimizer"] == "adamw"
    assert config["training"]["freeze_batch_norm"] is True  # fewer than six images
    tensors = [
        f"{layer}.{kind}" for layer in ("head.classes", "semantic_head")
        for kind in ("weight", "bias")
    ]  # fmt: skip
    _, metadata = read_artifact(run / "best.safetensors")
    record = metadata.provenance
    assert record["weights"] == str(tiny_run)
    assert sorted(record["initialised"]) == sorted(tensors)
    assert record["new_classes"] == ["cup", "wheel"]
    assert record["model"] == "yolact-nano"
    assert "it does not know cup, wheel" in done.stderr
    assert all(tensor in done.stderr for tensor in tensors)


def test_frozen_parts_stay_bit_for_bit_also_when_resumed(tiny_run, tiny_data, tmp_path, capfd):
    settings = SHORT | {"batch_size": 8, "steps": 3, "freeze": ["backbone", "head"]}
    run = train(tiny_data, weights=tiny_run, out=tmp_path / "run", **settings)
    assert "every weight is taken over" in capfd.readouterr().err
    assert changed(run.folder, tiny_run) == {"fpn", "protonet", "semantic_head"}
    train(tiny_data, out=run.folder, resume=True, steps=5)
    assert torch.load(run.folder / "last.ckpt")["yolact"]["batches_done"] == 5
    assert changed(run.folder, tiny_run) == {"fpn", "protonet", "semantic_head"}
    provenance = read_artifact(run.best)[1].provenance
    assert provenance["weights"] == str(tiny_run)
    with pytest.raises(UsageError, match=r"started with freeze \('backbone', 'head'\)"):
        train(tiny_data, out=run.folder, resume=True, steps=6, freeze=["head"])


def test_what_begins_at_random_is_not_frozen(tiny_run, tiny_data, other_data, tmp_path):
    with pytest.raises(UsageError, match="fpn cannot be frozen: it begins at random"):
        train(tiny_data, out=tmp_path / "x", freeze=["fpn"])
    with pytest.raises(UsageError, match="head cannot be frozen: it begins at random, at least in"):
        train(other_data, weights=tiny_run, out=tmp_path / "x", freeze=["backbone", "head"])


def test_batch_norm_fixed_for_a_small_batch_stays_so_when_resumed(tiny_run, tiny_data, tmp_path):
    before, _ = read_artifact(tiny_run / "best.safetensors")
    norms = [name.removesuffix("running_var") for name in before if name.endswith("running_var")]

    def norms_are_kept():
        after = read_checkpoint(tmp_path / "run")
        return all(
            torch.equal(after[name], before[name])
            for name in before
            if name.startswith(tuple(norms))
        )

    train(tiny_data, weights=tiny_run, out=tmp_path / "run", **SHORT | {"steps": 1})
    assert norms_are_kept()
    train(tiny_data, out=tmp_path / "run", resume=True, steps=2)
    assert norms_are_kept()
    assert changed(tmp_path / "run", tiny_run) >= {"backbone", "head"}


@pytest.mark.parametrize("first", ["weights", "pretrained_backbone", "backbone_weights"])
def test_weights_come_from_one_place(tiny_run, tiny_data, tmp_path, first):
    with pytest.raises(UsageError, match="choose one of resume, weights, pretrained_backbone"):
        train(tiny_data, out=tmp_path / "x", resume=True, **{first: str(tiny_run)})


def test_an_original_file_starts_a_model_of_other_classes(formula, tmp_path):
    state = formula.checkpoint("yolact_resnet50")
    torch.save(state, tmp_path / "old.pth")
    given = read_given_weights(str(tmp_path / "old.pth"), None)
    assert given.name == "yolact-resnet50"
    config = preset("yolact-resnet50", ("robot", "dog")).resized((64, 64)).model
    start = first_weights(config, given=given)
    new = start.network.state_dict()
    assert start.random == {
        "head.classes.weight", "head.classes.bias", "semantic_head.weight", "semantic_head.bias"
    }  # fmt: skip
    assert start.provenance["new_classes"] == ["robot"]
    assert torch.equal(new["fpn.laterals.0.bias"], state["fpn.lat_layers.2.bias"])
    dog = 16  # its place among COCO's classes
    classes = state["prediction_layers.0.conf_layer.weight"]
    for anchor in range(3):
        assert torch.equal(new["head.classes.weight"][anchor * 3], classes[anchor * 81])
        assert torch.equal(
            new["head.classes.weight"][anchor * 3 + 2], classes[anchor * 81 + 1 + dog]
        )
    assert torch.equal(new["semantic_head.weight"][1], state["semantic_seg_conv.weight"][dog])


@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_a_file_is_of_the_model_that_is_named(formula, tmp_path, suffix):
    path = tmp_path / f"old{suffix}"
    torch.save(formula.checkpoint("yolact_resnet50"), path)
    given = read_given_weights(str(path), "yolact-resnet50-pascal")
    assert given.name == "yolact-resnet50-pascal"


def test_no_weights_there(tiny_data, tmp_path):
    with pytest.raises(CheckpointError, match="no validation has ended yet"):
        train(tiny_data, weights=tmp_path, out=tmp_path / "x")


@pytest.fixture(scope="module")
def resnet_recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "small.yaml"
    path.write_text(RESNET18)
    return path


@pytest.fixture(scope="module")
def backbone_file(tmp_path_factory):
    """ResNet-18 in torchvision's names, random from a seed, without one of its tensors."""
    import timm

    torch.manual_seed(7)
    state = timm.create_model("resnet18").state_dict()
    state = {
        key: tensor for key, tensor in state.items()
        if not key.endswith("num_batches_tracked") and key != "layer4.1.conv2.weight"
    }  # fmt: skip
    path = tmp_path_factory.mktemp("imagenet") / "resnet18.pth"
    torch.save(state, path)
    return path


def test_backbone_weights_of_the_original(resnet_recipe, backbone_file, tiny_data, tmp_path, capfd):
    settings = SHORT | {"model": str(resnet_recipe), "learning_rate": 1e-30, "steps": 1}
    run = train(tiny_data, backbone_weights=backbone_file, out=tmp_path / "run", **settings)
    missing = "backbone.body.layer4.1.conv2.weight"
    assert f"not in {backbone_file}, and initialised anew: {missing}" in capfd.readouterr().err
    after, metadata = read_artifact(run.best)
    assert metadata.provenance["initialised"] == [missing]
    for name, tensor in read_backbone_weights(backbone_file).items():
        assert torch.equal(after[name], tensor)
    with pytest.raises(UsageError, match="backbone cannot be frozen: it begins at random"):
        train(
            tiny_data, backbone_weights=backbone_file, out=tmp_path / "x", freeze=["backbone"],
            **settings,
        )  # fmt: skip


def test_backbone_weights_that_do_not_fit(backbone_file, tiny_data, tmp_path):
    with pytest.raises(CheckpointError, match=r"does not fit this backbone: backbone\.body\."):
        train(tiny_data, backbone_weights=backbone_file, out=tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_imagenet_start_without_a_network(command, resnet_recipe, tiny_data, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "empty"))
    done = command(
        "train", tiny_data, "--model", resnet_recipe, "--pretrained-backbone",
        "--out", tmp_path / "x",
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    announced, said = done.stderr.splitlines()
    assert announced == "ImageNet weights of resnet18: from timm's cache, else by a download"
    assert "could not be fetched (LocalEntryNotFoundError): connect to the internet" in said
    assert not (tmp_path / "x").exists()


def test_there_are_no_imagenet_weights_for_a_narrow_backbone(tiny_data, tmp_path):
    with pytest.raises(UsageError, match="no ImageNet weights for a resnet10t with widths"):
        train(tiny_data, pretrained_backbone=True, out=tmp_path / "x")


def test_an_imagenet_start_fills_the_backbone(monkeypatch):
    """What timm would fetch, is taken; only the fetching itself is replaced."""
    import timm

    given = timm.create_model("resnet18").state_dict()
    monkeypatch.setattr(
        "timm.models._builder.load_state_dict_from_hf", lambda *_, **__: dict(given)
    )
    config = preset("yolact-resnet50").resized((64, 64)).model
    network = build_yolact(replace(config, backbone="resnet18"), pretrained_backbone=True)
    for name, tensor in network.backbone.body.state_dict().items():
        assert torch.equal(tensor, given[name])


def test_the_benchmark_compares_both_starts(tiny_run, tiny_data, tmp_path, monkeypatch, capsys):
    script = Path(__file__).parents[2] / "benchmarks" / "fine_tuning.py"
    words = [tiny_data, "--weights", tiny_run, "--size", 96, "--steps", 2, "--validations", 2,
             "--workers", 0, "--out", tmp_path / "out"]  # fmt: skip
    monkeypatch.setattr("sys.argv", [str(script), *map(str, words)])
    runpy.run_path(str(script), run_name="__main__")
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert head.startswith("| step | from weights: mask AP | from weights: mask AP50 | from random")
    assert [row.split(" | ")[0] for row in rows] == ["| 1", "| 2"]
    assert (tmp_path / "out" / "comparison.png").stat().st_size > 10_000
