"""Whole trainings with trackers: what arrives, what leaves the machine, what is imported."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections import defaultdict

import pytest

from tracked import mlflow_run, tensorboard_panels, tensorboard_points, wandb_run
from yolact.artifacts.run_directory import read_metrics
from yolact.training import callbacks
from yolact.training.run import train

SHORT = ["--size", 96, "--batch-size", 4, "--workers", 1, "--validations", 2]


@pytest.fixture
def outside():
    """A proxy that serves nobody and remembers who asked; and the environment that names it."""
    asked = []
    server = socket.create_server(("127.0.0.1", 0))

    def listen():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:  # closed: the test is over
                return
            with connection:
                asked.append(connection.recv(200))

    thread = threading.Thread(target=listen)
    thread.start()
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    proxy = dict.fromkeys(names, f"http://127.0.0.1:{server.getsockname()[1]}")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("WANDB_", "MLFLOW_")) and not name.lower().endswith("_proxy")
    }
    yield kept | proxy | {name.lower(): value for name, value in proxy.items()}, asked
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


def logged_points(folder):
    points = defaultdict(list)
    for row in read_metrics(folder / "metrics.jsonl"):
        for key, value in row.items():
            if key != "step" and value is not None:
                points[key].append((row["step"], pytest.approx(value, rel=1e-6)))
    return points


def tracked_everywhere(folder):
    """Points of each tracker, and how the run ended there."""
    identities = json.loads((folder / "trackers.json").read_text())
    points, texts = tensorboard_points(folder / "tensorboard")
    yield points, texts["status"]
    points, run = mlflow_run((folder / "mlruns").as_uri(), identities["mlflow"]["run"])
    yield points, run.info.status
    points = defaultdict(list)
    for file in sorted(folder.glob("wandb/offline-run-*/*.wandb"), key=lambda f: f.stat().st_mtime):
        part, about = wandb_run(file)
        assert about["id"] == identities["wandb"]["run"]
        for key, values in part.items():
            points[key] += values
    yield points, about["summary"]["status"]


def shown_everywhere(folder):
    """Of each tracker the steps whose snapshots it has, in the order it got them."""
    pictures = tensorboard_panels(folder / "tensorboard")["pictures"]
    for tag, shown in pictures.items():
        if tag.startswith("pictures/"):
            yield [step for step, _ in shown]
    files = sorted(folder.glob("wandb/offline-run-*/*.wandb"), key=lambda f: f.stat().st_mtime)
    yield [step for file in files for step, _ in wandb_run(file)[1]["panels"]["pictures"]]
    artifacts = folder.glob("mlruns/*/*/artifacts/snapshots/*/picture_1.jpg")
    yield sorted(int(path.parent.name) for path in artifacts)


def snapshot_steps(folder):
    return [int(path.stem) for path in sorted(folder.glob("snapshots/0*.json"))]


def test_command_writes_three_and_talks_to_nobody(outside, tiny_data, tmp_path, monkeypatch):
    environment, asked = outside
    words = ["train", tiny_data, *SHORT, "--steps", 4, "--out", "runs/x", "--json"]
    words += ["--tracker", "tensorboard,wandb", "--tracker", "mlflow"]
    done = subprocess.run(
        [sys.executable, "-m", "yolact", *map(str, words)],
        cwd=tmp_path,
        env=environment | {"HOME": str(tmp_path / "home"), "CUDA_VISIBLE_DEVICES": ""},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["interrupted"] is False
    assert "tensorboard: tensorboard --logdir runs/x/tensorboard" in done.stderr
    assert "wandb sync" in done.stderr
    assert asked == []
    assert {path.name for path in tmp_path.iterdir()} <= {"runs", "home"}
    folder = tmp_path / "runs" / "x"
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    expected = logged_points(folder)
    assert len(expected["mask/ap"]) == 2
    assert len(expected["loss/total"]) >= 1
    for points, status in tracked_everywhere(folder):
        assert points == expected
        assert status.lower() == "finished"
    assert snapshot_steps(folder) == [0, 4, 8]
    shown = list(shown_everywhere(folder))
    assert len(shown) == 4 + 2
    assert all(steps == [0, 4, 8] for steps in shown)


def test_an_interrupted_run_goes_on_in_the_same_trackers(
    tiny_data, tiny_settings, tmp_path, monkeypatch
):
    monkeypatch.setattr(callbacks, "_ROW_EVERY_STEPS", 1)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    original = callbacks.Stop.on_train_batch_end

    def interrupting(self, trainer, lightning_module, *rest):
        self._signalled = lightning_module.batches_done == 3
        original(self, trainer, lightning_module, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Stop, "on_train_batch_end", interrupting)
        first = train(
            tiny_data, out=tmp_path / "run", tracker=["tensorboard", "wandb", "mlflow"],
            **tiny_settings | {"steps": 3, "snapshots": 4},
        )  # fmt: skip
    assert first.interrupted
    for points, status in tracked_everywhere(first.folder):
        assert points == logged_points(first.folder)
        assert status.lower() in ("interrupted", "killed")
    whole = train(tiny_data, out=tmp_path / "run", resume=True)
    assert [step for step, _ in logged_points(whole.folder)["loss/total"]] == [1, 2, 3, 4, 5, 6]
    for points, status in tracked_everywhere(whole.folder):
        assert points == logged_points(whole.folder)
        assert status.lower() == "finished"
    for steps in shown_everywhere(whole.folder):
        assert steps == snapshot_steps(whole.folder) == [0, 6]
    train(tiny_data, out=tmp_path / "run", resume=True, tracker="none", steps=4)
    assert max(step for step, _ in logged_points(whole.folder)["loss/total"]) == 8
    for points, _ in tracked_everywhere(whole.folder):
        assert max(step for step, _ in points["loss/total"]) == 6


def test_without_a_tracker_none_is_imported(tiny_data, tmp_path):
    """timm imports wandb for itself wherever that is installed; nobody else asks for anything."""
    probe = """
import sys
from yolact.cli.main import main
asked = set()
class Witness:
    def find_spec(name, path, target=None):
        if name in ("tensorboard", "wandb", "mlflow"):
            frame = sys._getframe(1)
            while "importlib" in frame.f_code.co_filename:
                frame = frame.f_back
            asked.add((name, frame.f_globals["__name__"]))
sys.meta_path.insert(0, Witness)
assert main(sys.argv[1:]) == 0
print(sorted(asked - {("wandb", "timm.utils.summary")}))
"""
    words = ["train", tiny_data, *SHORT, "--steps", 1, "--out", tmp_path / "run"]
    done = subprocess.run(
        [sys.executable, "-c", probe, *map(str, words)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert not (tmp_path / "run" / "trackers.json").exists()
