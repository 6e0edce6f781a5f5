"""Trackers without a training: rows from a log, backends real or in memory."""

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracked import mlflow_run, tensorboard_points, wandb_run
from yolact.errors import UsageError, YolactError
from yolact.evaluation.analysis import Analysis
from yolact.reporting.snapshots import Snapshot
from yolact.training.callbacks import MetricsLog
from yolact.training.trackers.following import TRACKERS, Trackers, tracker_names
from yolact.training.trackers.tracker import Start

ABOUT = {"model": {"class_names": ["cat", "dog"]}, "training": {"seed": 7, "epochs": None}}


@pytest.fixture(autouse=True)
def nobodys_settings(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("WANDB_", "MLFLOW_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # for reading back


ANALYSIS = Analysis((), {}, np.zeros((1, 1), dtype=np.int64), 0.3, 0.5, {})


def snapshot_of(step, seconds):
    return Snapshot(step, seconds, (), (), {}, None)


class Memory:
    """A tracker that remembers, and fails when told to."""

    takes_back = False

    def __init__(self, store=None, fails_at=math.inf):
        self.store = {} if store is None else store
        self.fails_at = fails_at

    def start(self, folder, settings, identity, resume_at):
        self.rows = self.store.setdefault("rows", [])
        self.store["settings"] = settings
        self.store.setdefault("starts", []).append((identity, resume_at))
        return Start("memory", "in memory")

    def log(self, step, numbers):
        if step >= self.fails_at:
            raise OSError(28, "No space left on device")
        self.rows.append((step, dict(numbers)))

    def show(self, snapshot):
        self.log(snapshot.step, {"snapshot": snapshot.seconds})

    def show_analysis(self, step, analysis):
        self.log(step, {"analysis": analysis.score})

    def finish(self, status):
        self.store["status"] = status


@pytest.fixture
def memory(monkeypatch):
    def install(**trackers):
        for name, tracker in trackers.items():
            monkeypatch.setitem(TRACKERS, name, lambda tracker=tracker: tracker)
        return Trackers(tuple(trackers))

    return install


def follow(trackers, folder, rows, *, resume_at=None, interrupted=False):
    log = MetricsLog(folder, resume_at=resume_at)
    with trackers.following(log, folder, ABOUT, lambda: interrupted):
        for row in rows:
            log.add(row)
    return log


class TestNames:
    def test_one_text_or_several(self, tmp_path):
        assert tracker_names(None, None) == ()
        assert tracker_names("wandb, mlflow,wandb", None) == ("wandb", "mlflow")
        assert tracker_names(["tensorboard"], None) == ("tensorboard",)
        assert tracker_names((), tmp_path) == tracker_names("none", tmp_path) == ()

    def test_unknown(self):
        with pytest.raises(UsageError, match="no tracker 'comet'; there are tensorboard, wandb, m"):
            tracker_names("wandb,comet", None)

    def test_a_resumed_run_keeps_its_own(self, memory, tmp_path):
        follow(memory(wandb=Memory(), tensorboard=Memory()), tmp_path, [])
        assert tracker_names(None, tmp_path) == ("tensorboard", "wandb")
        assert tracker_names(None, None) == ()
        assert tracker_names("mlflow", tmp_path) == ("mlflow",)

    def test_a_broken_record(self, tmp_path):
        (tmp_path / "trackers.json").write_text('{"wandb": 3}')
        with pytest.raises(UsageError, match=r"trackers\.json is broken; delete it"):
            tracker_names(None, tmp_path)


class TestFollowing:
    def test_numbers_only_and_flat_settings(self, memory, tmp_path):
        tracker = Memory()
        follow(memory(one=tracker), tmp_path, [{"step": 3, "a/b": 1.5, "c": None, "n": 2}])
        assert tracker.rows == [(3, {"a/b": 1.5, "n": 2})]
        assert tracker.store["settings"] == {
            "model.class_names": ["cat", "dog"],
            "training.seed": 7,
            "training.epochs": None,
        }

    @pytest.mark.parametrize(
        ("error", "interrupted", "status"),
        [
            (None, False, "finished"),
            (None, True, "interrupted"),
            (KeyboardInterrupt, False, "interrupted"),
            (ValueError, False, "failed"),
        ],
    )
    def test_how_it_ended(self, memory, tmp_path, error, interrupted, status):
        tracker = Memory()
        log = MetricsLog(tmp_path)
        if error is None:
            follow(memory(one=tracker), tmp_path, [], interrupted=interrupted)
        else:
            with (
                pytest.raises(error),
                memory(one=tracker).following(log, tmp_path, ABOUT, lambda: interrupted),
            ):
                raise error
        assert tracker.store["status"] == status

    def test_one_that_fails_is_dropped_and_the_rest_goes_on(self, memory, tmp_path, capsys):
        bad, good = Memory(fails_at=2), Memory()
        rows = [{"step": step, "loss": float(step)} for step in (1, 2, 3)]
        log = follow(memory(bad=bad, good=good), tmp_path, rows)
        assert log.rows == rows
        assert bad.rows == [(1, {"loss": 1.0})]
        assert "status" not in bad.store
        assert [step for step, _ in good.rows] == [1, 2, 3]
        assert good.store["status"] == "finished"
        said = [line for line in capsys.readouterr().err.splitlines() if "failed" in line]
        assert said == [
            "the tracker bad failed, and is left out from here: [Errno 28] No space left on device"
        ]

    def test_one_that_cannot_start_ends_the_run_before_it_begins(self, memory, tmp_path):
        class Broken(Memory):
            def start(self, *_):
                raise ConnectionError("no route to host\nand a page of advice")

        first = Memory()
        trackers = memory(first=first, broken=Broken())
        with pytest.raises(
            YolactError, match=r"the tracker broken cannot start: no route to host$"
        ):
            follow(trackers, tmp_path, [{"step": 1, "loss": 1.0}])
        assert first.store["status"] == "failed"
        assert not first.rows

    def test_one_that_joins_later_is_told_everything(self, memory, tmp_path):
        follow(memory(one=Memory()), tmp_path, [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.0}])
        late = Memory()
        follow(memory(late=late), tmp_path, [{"step": 3, "loss": 1.0}], resume_at=2)
        assert late.store["starts"] == [(None, 2)]
        assert late.rows == [(1, {"loss": 3.0}), (2, {"loss": 2.0}), (3, {"loss": 1.0})]

    def test_snapshots_and_analyses(self, memory, tmp_path, capsys):
        bad, good = Memory(fails_at=2), Memory()
        trackers = memory(bad=bad, good=good)
        log = MetricsLog(tmp_path)
        with trackers.following(log, tmp_path, ABOUT, lambda: False):
            trackers.show(snapshot_of(0, 0.0))
            trackers.show(snapshot_of(4, 1.5))
            log.add({"step": 4, "loss": 2.0})
            trackers.show_analysis(4, ANALYSIS)
        assert bad.rows == [(0, {"snapshot": 0.0})]
        assert good.rows == [
            (0, {"snapshot": 0.0}),
            (4, {"snapshot": 1.5}),
            (4, {"loss": 2.0}),
            (4, {"analysis": 0.3}),
        ]
        assert capsys.readouterr().err.count("the tracker bad failed, and is left out") == 1
        trackers.show(snapshot_of(9, 2.0))  # the run is over
        assert len(good.rows) == 4

    @pytest.mark.parametrize("takes_back", [False, True])
    def test_a_killed_run_shows_no_step_twice_where_it_stays(self, memory, tmp_path, takes_back):
        first, second = Memory(), Memory()
        first.takes_back = second.takes_back = takes_back
        trackers = memory(wandb=first)
        killed = trackers.following(MetricsLog(tmp_path), tmp_path, ABOUT, lambda: False)
        killed.__enter__()
        for step in (0, 10, 20):
            trackers.show(snapshot_of(step, 1.0))
        trackers.show_analysis(10, ANALYSIS)
        trackers = memory(wandb=second)
        log = MetricsLog(tmp_path, resume_at=5)
        with trackers.following(log, tmp_path, ABOUT, lambda: False):
            for step in (10, 20, 30):
                trackers.show(snapshot_of(step, 2.0))
                trackers.show_analysis(step, ANALYSIS)
        shown = [(step, key) for step, numbers in second.rows for key in numbers]
        if takes_back:
            assert shown == [(s, key) for s in (10, 20, 30) for key in ("snapshot", "analysis")]
        else:
            assert shown == [(20, "analysis"), (30, "snapshot"), (30, "analysis")]
        killed.gen.close()

    @settings(max_examples=40, deadline=None)
    @given(
        lives=st.lists(
            st.tuples(
                st.integers(0, 12),
                st.lists(st.tuples(st.integers(1, 5), st.sampled_from("ab"), st.floats(0, 1))),
            ),
            min_size=1,
            max_size=5,
        )
    )
    def test_however_often_it_is_killed_no_point_comes_twice(self, lives):
        """A life resumes somewhere behind where the one before got to, and logs a few rows."""
        store, offered = {}, set()
        with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
            folder, done = Path(name), None
            patch.setitem(TRACKERS, "wandb", lambda: Memory(store))
            for back, rows in lives:
                at = None if done is None else max(done - back, 0)
                log = MetricsLog(folder, resume_at=at)
                done = at or 0
                with Trackers(["wandb"]).following(log, folder, ABOUT, lambda: False):
                    for ahead, key, value in rows:
                        done += ahead
                        log.add({"step": done, key: value})
                        offered.add((done, key, value))
        steps = defaultdict(list)
        for step, numbers in store["rows"]:
            for key, value in numbers.items():
                steps[key].append(step)
                assert (step, key, value) in offered
        for key, of_key in steps.items():
            assert of_key == sorted(set(of_key))
            assert max(of_key) == max(step for step, k, _ in offered if k == key)


ROWS = [
    {"step": 5, "seconds": 1.25, "loss/total": 3.5, "gradient_norm": math.nan, "skipped_steps": 1},
    {"step": 5, "seconds": 1.5, "mask/ap": 0.125, "mask/ap_large": None},
    {"step": 9, "seconds": 2.5, "loss/total": 2.25, "gradient_norm": 1e9, "skipped_steps": 1},
    {"step": 11, "seconds": 3.0, "loss/total": 2.0, "gradient_norm": 0.5, "skipped_steps": 1},
]
AGAIN = [
    {"step": 9, "seconds": 9.5, "loss/total": 2.125, "gradient_norm": 4.0, "skipped_steps": 1},
    {"step": 12, "seconds": 9.75, "loss/total": 1.5, "gradient_norm": 3.0, "skipped_steps": 1},
]


def points_of(rows):
    points = defaultdict(list)
    for row in rows:
        for key, value in row.items():
            if key != "step" and value is not None:
                points[key].append((row["step"], pytest.approx(value, rel=1e-6, nan_ok=True)))
    return points


def ended_in_a_kill(names, folder):
    """A part of a run that nobody finished: what is flushed is all there is."""
    log = MetricsLog(folder)
    following = Trackers(names).following(log, folder, ABOUT, lambda: False)
    following.__enter__()
    for row in ROWS:
        log.add(row)
    return following


def test_tensorboard_takes_back_what_the_checkpoint_does_not_know(tmp_path):
    killed = ended_in_a_kill(["tensorboard"], tmp_path)
    points, texts = tensorboard_points(tmp_path / "tensorboard")
    assert points == points_of(ROWS)
    assert "| training.seed | 7 |" in texts["settings"]
    assert "status" not in texts
    log = follow(Trackers(["tensorboard"]), tmp_path, AGAIN, resume_at=5)
    points, texts = tensorboard_points(tmp_path / "tensorboard")
    assert points == points_of(log.rows) == points_of(ROWS[:2] + AGAIN)
    assert texts["status"] == "finished"
    killed.gen.close()


def test_mlflow_keeps_one_run_without_points_twice(tmp_path, capsys):
    follow(Trackers(["mlflow"]), tmp_path, ROWS, interrupted=True)
    store = (tmp_path / "mlruns").as_uri()
    identity = json.loads((tmp_path / "trackers.json").read_text())["mlflow"]["run"]
    assert f"mlflow: run {identity} in {store}" in capsys.readouterr().err
    points, run = mlflow_run(store, identity)
    assert points == points_of(ROWS)
    assert run.info.status == "KILLED"
    assert run.data.params["model.class_names"] == "['cat', 'dog']"
    assert run.data.params["training.seed"] == "7"
    follow(Trackers(["mlflow"]), tmp_path, AGAIN, resume_at=5)
    points, run = mlflow_run(store, identity)
    assert points == points_of([*ROWS, AGAIN[1]])
    assert run.info.status == "FINISHED"
    assert run.info.run_name == tmp_path.name


def test_wandb_offline_is_the_same_run_in_a_second_file(tmp_path, capsys):
    follow(Trackers(["wandb"]), tmp_path, ROWS, interrupted=True)
    said = capsys.readouterr().err
    assert f"wandb: offline; to upload: wandb sync {tmp_path}/wandb/offline-run-*" in said
    (first,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    points, about = wandb_run(first)
    assert points == points_of(ROWS)
    assert about["id"] == json.loads((tmp_path / "trackers.json").read_text())["wandb"]["run"]
    assert (about["project"], about["name"]) == ("yolact", tmp_path.name)
    assert about["config"]["model.class_names"] == ["cat", "dog"]
    assert about["axes"] == {"*": "step"}
    assert about["summary"]["status"] == "interrupted"
    assert about["exit"] == 130
    follow(Trackers(["wandb"]), tmp_path, AGAIN, resume_at=5)
    (second,) = set(tmp_path.glob("wandb/offline-run-*/*.wandb")) - {first}
    points, more = wandb_run(second)
    assert points == points_of([AGAIN[1]])
    assert (more["id"], more["summary"]["status"], more["exit"]) == (about["id"], "finished", 0)


def test_the_users_own_settings_count(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "ours")
    (tmp_path / "elsewhere").mkdir()
    run = tmp_path / "run"
    follow(Trackers(["wandb", "mlflow"]), run, ROWS)
    assert {path.name for path in run.iterdir()} == {"metrics.jsonl", "trackers.json"}
    (file,) = tmp_path.glob("elsewhere/wandb/offline-run-*/*.wandb")
    assert wandb_run(file)[1]["project"] == "mine"
    identity = json.loads((run / "trackers.json").read_text())["mlflow"]["run"]
    assert mlflow_run((tmp_path / "store").as_uri(), identity)[0] == points_of(ROWS)


def test_wandb_can_be_switched_off_by_its_own_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    follow(Trackers(["wandb"]), tmp_path, ROWS)
    assert not (tmp_path / "wandb").exists()


def test_a_store_that_vanishes(tmp_path, capsys):
    log = MetricsLog(tmp_path)
    with Trackers(["mlflow"]).following(log, tmp_path, ABOUT, lambda: False):
        log.add(ROWS[0])
        shutil.rmtree(tmp_path / "mlruns")
        for row in ROWS[1:]:
            log.add(row)
    assert log.rows == ROWS
    assert capsys.readouterr().err.count("the tracker mlflow failed, and is left out") == 1


def test_a_server_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(YolactError, match="the tracker mlflow cannot start: "):
        follow(Trackers(["mlflow"]), tmp_path, ROWS)


def test_a_missing_package_is_one_sentence(tmp_path):
    probe = """
import sys
from yolact.cli.main import main
sys.modules |= {"tensorboard": None, "wandb": None, "mlflow": None}
for name in ("tensorboard", "wandb", "mlflow"):
    assert main(["train", "no data", "--tracker", name, "--out", sys.argv[1]]) == 2
"""
    words = [sys.executable, "-c", probe, str(tmp_path / "run")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    for line, name in zip(
        done.stderr.splitlines(), ("tensorboard", "wandb", "mlflow"), strict=True
    ):
        assert line.startswith(f"yolact: the tracker {name} is not installed (")
        assert line.endswith(f"): pip install 'yolact[{name}]'.")
    assert not (tmp_path / "run").exists()
