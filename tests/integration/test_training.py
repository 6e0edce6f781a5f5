"""A short training from labelled pictures to an artifact, and everything that may disturb it."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml

import yolact
from yolact.artifacts.artifact import read_artifact
from yolact.artifacts.run_directory import read_metrics
from yolact.errors import DataError, UsageError, YolactError
from yolact.training import callbacks, module
from yolact.training.run import train


def weights_of(folder):
    checkpoint = torch.load(folder / "last.ckpt", weights_only=True)
    return checkpoint["state_dict"], checkpoint["yolact"]


def test_a_run_directory_holds_all_that_is_promised(tiny_run, tiny_data):
    names = {path.name for path in tiny_run.iterdir()}
    assert names == {
        "config.yaml",
        "about.json",
        "snapshots",
        "metrics.jsonl",
        "metrics.csv",
        "last.ckpt",
        "best.safetensors",
        "curves.png",
        "analysis.json",
        "report.html",
    }
    config = yaml.safe_load((tiny_run / "config.yaml").read_text())
    assert config["model"]["image_size"] == [96, 96]
    assert len(config["model"]["class_names"]) == 10
    rows = read_metrics(tiny_run / "metrics.jsonl")
    losses = [row for row in rows if "loss/total" in row]
    assert losses[-1]["step"] == 12  # six steps of eight are twelve of four
    terms = ("box", "class", "mask", "semantic")
    assert losses[-1]["loss/total"] == pytest.approx(sum(losses[-1][f"loss/{t}"] for t in terms))
    assert rows[-1]["mask/ap"] is not None
    with (tiny_run / "metrics.csv").open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == [row["step"] for row in rows]
    _, metadata = read_artifact(tiny_run / "best.safetensors")
    assert metadata.category_ids == (3, 5, 9, 10, 14, 21, 22, 40, 51, 77)


def test_log_command_and_python_agree_on_ap(tiny_run, tiny_data, command):
    logged = read_metrics(tiny_run / "metrics.jsonl")[-1]
    metrics = yolact.evaluate(yolact.load(tiny_run), tiny_data)
    printed = json.loads(command("eval", tiny_run, tiny_data, "--json").stdout)
    for kind, values in (("mask", metrics.mask), ("box", metrics.box)):
        assert logged[f"{kind}/ap"] == pytest.approx(values.ap, abs=1e-6)
        assert printed[kind]["ap"] == pytest.approx(values.ap, abs=1e-6)


def test_it_learns(tiny_data, tiny_settings, tmp_path, monkeypatch):
    monkeypatch.setattr(callbacks, "_ROW_EVERY_STEPS", 1)
    settings = tiny_settings | {
        "batch_size": 8,
        "steps": 40,
        "warmup_steps": 5,
        "augmentation": "none",
    }
    run = train(tiny_data, out=tmp_path / "run", **settings)
    rows = read_metrics(run.folder / "metrics.jsonl")
    losses = [row["loss/total"] for row in rows if "loss/total" in row]
    assert len(losses) == 40
    assert sum(losses[-3:]) / 3 < 0.6 * losses[0]


def test_non_finite_steps_are_skipped_counted_and_named(
    tiny_data, tiny_settings, tmp_path, monkeypatch, capfd
):
    original = module.YolactCriterion.forward
    calls = []

    def poisoned(self, *arguments, **divisors):
        losses = original(self, *arguments, **divisors)
        calls.append(1)
        return {k: v * float("nan") for k, v in losses.items()} if len(calls) == 2 else losses

    monkeypatch.setattr(module.YolactCriterion, "forward", poisoned)
    run = train(tiny_data, out=tmp_path / "run", **tiny_settings | {"steps": 2})
    state, info = weights_of(run.folder)
    assert all(torch.isfinite(value).all() for value in state.values())
    ((step, images),) = info["skipped"]
    assert step == 1
    assert len(images) == 4
    said = capfd.readouterr().err
    assert "1 steps were skipped" in said
    assert str(sorted(images)) in said


def test_training_that_only_skips_stops_with_a_sentence(
    tiny_data, tiny_settings, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "_MAX_SKIPS_IN_A_ROW", 3)
    monkeypatch.setattr(
        module.YolactCriterion,
        "forward",
        lambda self, p, *_, **__: {"box": p.box_offsets.sum() * float("inf")},
    )
    with pytest.raises(YolactError, match="3 steps in a row"):
        train(tiny_data, out=tmp_path / "run", **tiny_settings | {"steps": 20})


@pytest.fixture
def background_data(tiny_data, tmp_path):
    """Pictures without any object, and pictures with crowds only."""
    document = json.loads((tiny_data / "annotations" / "instances_train.json").read_text())
    crowd = next(a for a in document["annotations"] if a["iscrowd"])
    document["annotations"] = [crowd]
    folder = tmp_path / "background"
    (folder / "annotations").mkdir(parents=True)
    (folder / "images").symlink_to(tiny_data / "images")
    for split in ("train", "val"):
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(document))
    return folder


def test_images_without_objects_train_as_background(background_data, tiny_settings, tmp_path):
    run = train(background_data, out=tmp_path / "run", **tiny_settings | {"steps": 4})
    rows = [r for r in read_metrics(run.folder / "metrics.jsonl") if "loss/total" in r]
    assert rows[-1]["skipped_steps"] == 0
    assert rows[-1]["loss/class"] > 0
    assert rows[-1]["loss/box"] == 0
    assert run.metrics.mask.ap is None


class TestRefusals:
    def test_a_finished_run_is_not_overwritten(self, tiny_data, tiny_run):
        before = (tiny_run / "best.safetensors").read_bytes()
        with pytest.raises(UsageError, match="already holds a run"):
            train(tiny_data, out=tiny_run, steps=2)
        assert (tiny_run / "best.safetensors").read_bytes() == before

    def test_unknown_setting(self, tiny_data, tmp_path):
        with pytest.raises(UsageError, match="no setting learning_speed"):
            train(tiny_data, out=tmp_path / "x", learning_speed=1)

    def test_setting_of_a_wrong_type(self, tiny_data, tmp_path):
        with pytest.raises(UsageError, match="batch_size cannot be 'eight'"):
            train(tiny_data, out=tmp_path / "x", batch_size="eight")

    def test_nothing_to_resume(self, tiny_data, tmp_path):
        with pytest.raises(UsageError, match="no run to resume"):
            train(tiny_data, out=tmp_path / "x", resume=True)

    def test_classes_of_train_and_val_differ(self, tiny_data, tmp_path):
        folder = tmp_path / "data"
        (folder / "annotations").mkdir(parents=True)
        (folder / "images").symlink_to(tiny_data / "images")
        for split in ("train", "val"):
            document = json.loads((tiny_data / f"annotations/instances_{split}.json").read_text())
            if split == "val":
                document["categories"][0]["name"] = "something else"
            (folder / f"annotations/instances_{split}.json").write_text(json.dumps(document))
        with pytest.raises(DataError, match=r"'something else', which in .* is 'disc'"):
            train(folder, out=tmp_path / "x", steps=1)

    def test_weights_of_another_model(self, tiny_data, tiny_run, tmp_path, command):
        done = command(
            "train", tiny_data, "--model", "yolact-resnet50", "--size", 96,
            "--weights", tiny_run / "best.safetensors", "--out", tmp_path / "x", "--steps", 1,
        )  # fmt: skip
        assert done.returncode == 3
        assert "does not fit this model" in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "x").exists()


def start_training(data, out):
    words = ["train", data, "--out", out, "--size", 96, "--batch-size", 4, "--steps", 4000]
    return subprocess.Popen(
        [sys.executable, "-m", "yolact", *map(str, words), "--workers", "1"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


@pytest.mark.parametrize("delay", [0.0, 1.3])
def test_a_killed_run_can_be_resumed(tiny_data, tmp_path, delay):
    out = tmp_path / "run"
    process = start_training(tiny_data, out)
    wait_for((out / "last.ckpt").exists)
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    done = weights_of(out)[1]["batches_done"]
    run = train(tiny_data, out=out, resume=True, steps=(done + 2) // 2 + 1, workers=0)
    assert not run.interrupted
    assert weights_of(out)[1]["batches_done"] > done
    assert run.best.is_file()


def test_ctrl_c_saves_and_exits_130(tiny_data, tmp_path, command):
    out = tmp_path / "run"
    process = start_training(tiny_data, out)
    wait_for(lambda: (out / "metrics.jsonl").exists() and (out / "metrics.jsonl").read_text())
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    assert "--resume' goes on" in stderr
    assert "Traceback" not in stderr
    assert weights_of(out)[1]["batches_done"] >= 1
