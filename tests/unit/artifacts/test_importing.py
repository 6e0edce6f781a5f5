"""The path from an original file to a model, with weights by formula (shared/golden)."""

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import yolact
from yolact.artifacts.artifact import read_artifact
from yolact.artifacts.importing import import_original, read_original
from yolact.artifacts.original_weights import rename_original_weights
from yolact.cli.main import main
from yolact.config.presets import COCO_CLASSES, preset
from yolact.errors import CheckpointError, UsageError


@pytest.fixture(scope="module")
def state(formula):
    return formula.checkpoint("yolact_resnet50")


@pytest.fixture(scope="module")
def checkpoint(state, tmp_path_factory):
    """As published: an old-style file on disk, with the layer that nothing uses."""
    path = tmp_path_factory.mktemp("published") / "yolact_resnet50_54_800000.pth"
    unused = {"fpn.downsample_layers.2.weight": torch.zeros(256, 256, 3, 3)}
    torch.save({**state, **unused}, path, _use_new_zipfile_serialization=False)
    return path


@pytest.fixture(scope="module")
def artifact(checkpoint, command):
    """Imported by the command, by keys and shapes."""
    done = command("models", "import", checkpoint, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    document = json.loads(done.stdout)
    assert document["model"] == "yolact-resnet50"
    assert len(document["classes"]) == 80
    return Path(document["out"])


def fewer_classes(state, num_classes):
    """Another number of classes: the tensors that change shape with it (spec 2.3)."""
    changed = dict(state)
    for key in ("weight", "bias"):
        conf = f"prediction_layers.0.conf_layer.{key}"
        changed[conf] = state[conf][: 3 * (num_classes + 1)].clone()
        semantic = f"semantic_seg_conv.{key}"
        changed[semantic] = state[semantic][:num_classes].clone()
    return changed


def test_the_artifact_says_what_it_is(artifact, checkpoint, state):
    assert artifact == checkpoint.with_suffix(".safetensors")
    weights, metadata = read_artifact(artifact)
    recipe = preset("yolact-resnet50")
    assert metadata.model == recipe.model
    assert metadata.detection == recipe.detection
    assert metadata.provenance == {
        "model": "yolact-resnet50",
        "source": "yolact_resnet50_54_800000.pth",
        "licence": "MIT",
        "imported_by": f"yolact {yolact.__version__}",
        "source_sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
    }
    expected = rename_original_weights(state, "")
    assert set(weights) == set(expected)
    for name, tensor in expected.items():
        assert torch.equal(weights[name], tensor), name


def test_file_and_artifact_predict_the_same(artifact, checkpoint, golden):
    picture = golden / "image_480x640.png"
    results = [yolact.load(path, device="cpu")(picture) for path in (checkpoint, artifact)]
    assert len(results[0]) > 0
    np.testing.assert_array_equal(results[0].boxes, results[1].boxes)
    np.testing.assert_array_equal(results[0].scores, results[1].scores)
    np.testing.assert_array_equal(results[0].masks.numpy(), results[1].masks.numpy())


@pytest.fixture
def here(capsys, tmp_path, monkeypatch):
    """``yolact`` without a process of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return SimpleNamespace(returncode=code, stdout=out, stderr=err)

    return run


def test_what_exists_is_never_overwritten(artifact, checkpoint, here):
    before = artifact.read_bytes()
    done = here("models", "import", checkpoint)
    assert done.returncode == 2
    assert done.stderr == (
        f"yolact: {artifact} exists already and is left as it is: name another --out.\n"
    )
    assert artifact.read_bytes() == before


def test_info(artifact, checkpoint, here):
    done = here("models", "info", artifact, "--json")
    document = json.loads(done.stdout)
    assert document["parameters"] == 31_164_943  # spec 1.14
    assert document["anchors"] == 19_248
    assert document["input_size"] == [550, 550]
    assert document["classes"] == list(COCO_CLASSES)
    assert document["provenance"]["source"] == checkpoint.name
    done = here("models", "info", checkpoint)
    assert "parameters: 31,164,943" in done.stdout
    assert "model: yolact-resnet50" in done.stdout


def saved(content, path, **options):
    torch.save(content, path, **options)
    return path


def test_other_classes(state, tmp_path):
    path = saved(fewer_classes(state, 3), tmp_path / "yolact_resnet50_9_100.pth")
    said = []
    _, metadata = read_original(path, say=said.append)
    assert metadata.model.class_names == ("class_0", "class_1", "class_2")
    assert metadata.provenance["licence"] == "that of its author"
    assert said == [
        f"{path} fits yolact-resnet50, yolact-resnet50-pascal alike and is taken for "
        "yolact-resnet50; name the model if that is wrong.",
        f"{path} has 3 classes and no names for them: they are called class_0 to class_2 here.",
    ]
    said.clear()
    names = ("bolt", "nut", "ring")
    _, metadata = read_original(path, model="yolact-resnet50", class_names=names, say=said.append)
    assert metadata.model.class_names == names
    assert not said
    with pytest.raises(UsageError, match="has 3 classes, but 2 names are given"):
        read_original(path, class_names=("a", "b"), say=said.append)
    model = yolact.load(path, device="cpu")
    assert model.names == ("class_0", "class_1", "class_2")


def test_class_names_from_a_file_and_from_the_command_line(state, tmp_path, here):
    path = saved(fewer_classes(state, 2), tmp_path / "my.pth")
    names = tmp_path / "names.txt"
    names.write_text("Mutter ä\n\n  bolt \n", encoding="utf-8")
    done = here("models", "import", path, "--model", "yolact-resnet50", "--classes", names)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"yolact-resnet50: {tmp_path / 'my.safetensors'}\n"
    _, metadata = read_artifact(tmp_path / "my.safetensors")
    assert metadata.model.class_names == ("Mutter ä", "bolt")
    out = tmp_path / "deep" / "er.safetensors"
    done = here("models", "import", path, "--classes", "a", "b", "--out", out, "--json")
    assert done.returncode == 0
    assert "is taken for yolact-resnet50; name the model if that is wrong." in done.stderr
    assert json.loads(done.stdout)["classes"] == ["a", "b"]
    names.write_bytes(b"\xff\xfe\x00")
    done = here("models", "import", path, "--classes", names, "--out", tmp_path / "x.safetensors")
    assert done.returncode == 2
    assert "is no text file" in done.stderr


def test_names_of_data_parallel(state, tmp_path):
    path = saved({f"module.{key}": value for key, value in state.items()}, tmp_path / "x.pth")
    weights, _ = read_original(path, say=print)
    assert torch.equal(weights["semantic_head.bias"], state["semantic_seg_conv.bias"])


def test_unknown_keys_are_listed_and_nothing_is_written(state, tmp_path):
    path = saved({**state, "ema.step": torch.zeros(1), "zoo": torch.zeros(1)}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"holds unknown keys: ema\.step, zoo\."):
        import_original(path, tmp_path / "x.safetensors", say=print)
    assert not (tmp_path / "x.safetensors").exists()


def test_a_tensor_that_does_not_fit(state, tmp_path):
    changed = {**state, "proto_net.10.bias": torch.zeros(31)}
    path = saved(changed, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"project\.bias is \(31,\), \(32,\) is needed"):
        import_original(path, tmp_path / "x.safetensors", say=print)
    assert not (tmp_path / "x.safetensors").exists()


class Hostile:
    """Unpickling this would make a folder."""

    def __init__(self, victim):
        self.victim = victim

    def __reduce__(self):
        return os.mkdir, (str(self.victim),)


@pytest.mark.parametrize("kind", ["hostile", "truncated", "page", "zip", "training", "other"])
@pytest.mark.parametrize("verb", ["import", "predict"])
def test_unusable_files_get_one_sentence(kind, verb, tmp_path, here, golden):
    path, victim = tmp_path / "x.pth", tmp_path / "executed"
    tensors = {"semantic_seg_conv.weight": torch.zeros(80, 256, 1, 1)}
    if kind == "hostile":
        torch.save({**tensors, "a": Hostile(victim)}, path)
    elif kind == "truncated":
        torch.save(tensors, path)
        path.write_bytes(path.read_bytes()[:5000])
    elif kind == "page":
        path.write_text("<!DOCTYPE html><html><body>Quota exceeded</body></html>")
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.txt", "no weights")
    elif kind == "training":
        torch.save({"epoch": 3, "optimizer": {"state": {}}, "state_dict": tensors}, path)
    else:
        torch.save({"fc.weight": torch.zeros(3)}, path)
    picture = golden / "image_480x640.png"
    words = ("models", "import", path) if verb == "import" else ("predict", path, picture)
    done = here(*words)
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.startswith(f"yolact: {path} is no")
    assert done.stderr.count("\n") == 1
    assert not victim.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.pth"]


# Not getrusage: its peak includes that of the process this one was started from.
MEASURE = """
import re, sys
from pathlib import Path
import torch, yolact
from yolact.inference.load import load

def kilobytes(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

before = kilobytes("VmRSS")
model = load(sys.argv[1], device="cpu")
print((kilobytes("VmHWM") - before) * 1024 / Path(sys.argv[1]).stat().st_size)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("kind", ["original", "artifact"])
def test_loading_needs_little_memory(kind, checkpoint, artifact):
    """At most 2.2 times the file at the peak: network, weights and what reading them takes."""
    path = {"original": checkpoint, "artifact": artifact}[kind]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, path], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 2.2
