"""Several processes train like one: real ones, on the CPU."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from yolact.artifacts.run_directory import read_metrics
from yolact.errors import UsageError
from yolact.training import callbacks
from yolact.training.run import train

EVERY_STEP = """
import json, sys
from yolact.training import callbacks
from yolact.training.run import train

callbacks._ROW_EVERY_STEPS = 1
if __name__ == "__main__":
    run = train(**json.loads(sys.argv[1]))
    print(run.metrics.num_images, run.metrics.num_detections)
"""

SETTINGS = {
    "batch_size": 4,
    "epochs": 1.0,
    "optimizer": "sgd",
    "learning_rate": 2e-3,
    "warmup_steps": 0,
    "freeze_batch_norm": True,  # else each process has statistics of its own
    "workers": 0,
    "validations": 2,
    "device": "cpu",
}


def start(*words):
    return subprocess.Popen(
        [sys.executable, *map(str, words)],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process):
    try:
        return (*process.communicate(timeout=240), process.returncode)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def recipe(tmp_path):
    """A small model with every part there is, the judge of masks included."""
    file = tmp_path / "recipe.yaml"
    file.write_text("base: yolact-nano\nsize: 64\nmodel:\n  mask_rescoring: true\n")
    return file


def copy_of(data, folder, change):
    """The data set with its training annotations changed."""
    (folder / "annotations").mkdir(parents=True)
    (folder / "images").symlink_to(data / "images")
    for split in ("train", "val"):
        document = json.loads((data / "annotations" / f"instances_{split}.json").read_text())
        if split == "train":
            change(document)
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(document))
    return folder


@pytest.fixture
def uneven_data(tiny_data, tmp_path):
    """What the second of two processes gets in the first step has no objects."""
    second = np.random.default_rng((0, 0)).permutation(24)[2:4]

    def strip(document):
        empty = {document["images"][position]["id"] for position in second}
        document["annotations"] = [a for a in document["annotations"] if a["image_id"] not in empty]

    return copy_of(tiny_data, tmp_path / "uneven", strip)


def test_two_processes_train_like_one(uneven_data, recipe, tmp_path, monkeypatch):
    settings = SETTINGS | {"data": str(uneven_data), "model": str(recipe)}
    script = tmp_path / "script.py"
    script.write_text(EVERY_STEP)
    two = start(script, json.dumps(settings | {"out": str(tmp_path / "two"), "devices": 2}))
    monkeypatch.setattr(callbacks, "_ROW_EVERY_STEPS", 1)
    run = train(**settings, out=tmp_path / "one")
    stdout, stderr, code = finish(two)
    assert code == 0, stderr
    # Both took part in the validation, and all is said once.
    assert stdout == f"{run.metrics.num_images} {run.metrics.num_detections}\n"
    assert len(re.findall(r"step 6 ", stderr)) == 1

    one, two = (read_metrics(tmp_path / name / "metrics.jsonl") for name in ("one", "two"))
    assert [row["step"] for row in two] == [1, 2, 3, 3, 4, 5, 6, 6]
    for of_one, of_two in zip(one, two, strict=True):
        assert of_one.keys() == of_two.keys()
        measured = {k: v for k, v in of_one.items() if k != "seconds" and v is not None}
        # Sums in another order differ in their last bits, and steps build on them.
        nearly = 1e-5 if of_one["step"] == 1 else 2e-4
        assert {k: of_two[k] for k in measured} == pytest.approx(measured, rel=nearly, abs=1e-6)
    assert one[0]["loss/class"] > 1.05 * one[-2]["loss/class"]  # it does learn

    weights = [
        torch.load(tmp_path / name / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("one", "two")
    ]
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-4, atol=1e-4)
    assert {p.name for p in (tmp_path / "one").iterdir()} == {
        p.name for p in (tmp_path / "two").iterdir()
    }


def test_torchrun_resumes_what_one_process_began(tiny_data, tmp_path):
    out = tmp_path / "run"
    train(tiny_data, **SETTINGS | {"size": 64, "out": out, "epochs": 0.5, "validations": 1})
    torchrun = start(
        "-m", "torch.distributed.run", "--nproc-per-node", 2, "--standalone",
        "-m", "yolact", "train", tiny_data, "--out", out, "--resume", "--epochs", 1, "--json",
        "--device", "cpu",
    )  # fmt: skip
    stdout, stderr, code = finish(torchrun)
    assert code == 0, stderr
    assert json.loads(stdout)["run"] == str(out)  # one document, of one process
    rows = read_metrics(out / "metrics.jsonl")
    assert [row["step"] for row in rows if "loss/total" in row] == [3, 6]
    assert rows[-1]["step"] == 6
    assert rows[-1]["mask/ap"] is not None


def test_an_error_in_one_process_ends_all_with_its_sentence(tiny_data, tmp_path):
    broken = np.random.default_rng((0, 0)).permutation(24)[3]
    folder = tmp_path / "broken"

    def break_one(document):
        record = document["images"][broken]
        whole = (tiny_data / "images" / record["file_name"]).read_bytes()
        record["file_name"] = str(folder / "broken.jpg")
        (folder / "broken.jpg").write_bytes(whole[: len(whole) // 2])

    copy_of(tiny_data, folder, break_one)
    process = start(
        "-m", "yolact", "train", folder, "--out", tmp_path / "run", "--size", 64,
        "--batch-size", 4, "--epochs", 1, "--workers", 1, "--device", "cpu", "--devices", 2,
    )  # fmt: skip
    _, stderr, code = finish(process)
    assert code == 3, stderr
    assert len(stderr.splitlines()) == 1, stderr
    line = stderr
    assert re.match(r"yolact: .*broken\.jpg cannot be read as a picture: ", line)


def test_a_signal_stops_all_after_the_same_step(tiny_data, tmp_path):
    out = tmp_path / "run"
    process = start(
        "-m", "yolact", "train", tiny_data, "--out", out, "--size", 64, "--batch-size", 4,
        "--steps", 4000, "--workers", 0, "--device", "cpu", "--devices", 2,
    )  # fmt: skip
    deadline = time.monotonic() + 200
    while not (out / "metrics.jsonl").exists() or not (out / "metrics.jsonl").read_text():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
    _, stderr, code = finish(process)
    assert code == 130, stderr
    assert "--resume' goes on" in stderr
    assert "Traceback" not in stderr
    state = torch.load(out / "last.ckpt", weights_only=True)["yolact"]
    assert state["batches_done"] >= 1


class TestRefusals:
    """Said before any process is started, or by each alike."""

    @pytest.mark.parametrize(
        ("match", "devices", "settings"),
        [
            ("batch_size is 8, which does not divide among 3", 3, {}),
            ("batch_size that is a multiple of 4", 2, {"batch_size": 6, "accumulate": 2}),
            ("5 processes need at least as many images per step", 5, {"batch_size": 4}),
            ("the number of training images, is 24, which does not", 5, {"batch_size": 100}),
            ("two images at once, in each", 4, {"batch_size": 4, "freeze_batch_norm": False}),
            ("sync_batch_norm needs GPUs", 2, {"sync_batch_norm": True}),
        ],
    )
    def test_what_cannot_be_dealt_out(self, tiny_data, tmp_path, match, devices, settings):
        from yolact.training.prepare import prepare
        from yolact.training.processes import Processes
        from yolact.training.request import Request

        request = Request(data=tiny_data, out=tmp_path / "x", size=64, settings=settings)
        with pytest.raises(UsageError, match=match):
            prepare(Processes(devices=devices), torch.device("cpu"), request)

    def test_automatic_batch_size_on_a_cpu(self, tiny_data, tmp_path, quick_command):
        words = "--out", tmp_path / "x", "--batch-size", "auto"
        done = quick_command("train", tiny_data, *words, cwd=tmp_path)
        assert done.returncode == 2
        assert "batch_size auto is for GPUs" in done.stderr
        assert not (tmp_path / "x").exists()
