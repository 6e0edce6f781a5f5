"""Snapshots of a run that is cut off and goes on."""

import json
import shutil

import pytest

from yolact.artifacts.run_directory import read_metrics
from yolact.errors import UsageError
from yolact.training import run as run_module
from yolact.training.run import train

STEPS = [0, 10, 12, 20, 24]


@pytest.fixture(scope="module")
def settings(tiny_settings):
    return tiny_settings | {"validations": 2, "snapshots": 2}


@pytest.fixture(scope="module")
def whole(tiny_data, settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(tiny_data, out=folder, steps=12, **settings)
    return folder


@pytest.fixture(scope="module")
def cut(tiny_data, settings, tmp_path_factory):
    """A run that died at step 21 and has its checkpoint of step 14."""
    import lightning

    folder = tmp_path_factory.mktemp("cut") / "run"

    class Death(lightning.Callback):
        def on_train_batch_end(self, trainer, module, *rest):
            if module.batches_done == 14:
                trainer.save_checkpoint(folder / "kept.ckpt")
            if module.batches_done == 21:
                raise KeyboardInterrupt

    original = run_module.fit
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "fit", lambda *given: original(*given, observers=[Death()]))
        with pytest.raises(KeyboardInterrupt):
            train(tiny_data, out=folder, steps=12, **settings)
    (folder / "kept.ckpt").replace(folder / "last.ckpt")
    assert recorded(folder) == [0, 10, 12, 20]
    return folder


def recorded(folder):
    return sorted(int(path.stem) for path in (folder / "snapshots").glob("0*.json"))


def contents(folder, step):
    document = json.loads((folder / "snapshots" / f"{step:08d}.json").read_text())
    return {key: value for key, value in document.items() if key != "seconds"}


def test_a_resumed_run_has_the_snapshots_and_rows_of_one_never_cut(whole, cut, tiny_data, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(cut, folder)
    before = {path.name: path.stat().st_mtime_ns for path in (folder / "snapshots").iterdir()}
    train(tiny_data, out=folder, resume=True, workers=0)
    assert recorded(folder) == recorded(whole) == STEPS
    for step in STEPS:
        assert contents(folder, step) == contents(whole, step)
    after = {path.name: path.stat().st_mtime_ns for path in (folder / "snapshots").iterdir()}
    kept = {"pictures.json", *(f"{step:08d}.json" for step in (0, 10, 12))}
    assert {name for name, time in before.items() if after[name] == time} == kept
    rows = [read_metrics(each / "metrics.jsonl") for each in (folder, whole)]
    assert [drop_seconds(row) for row in rows[0]] == [drop_seconds(row) for row in rows[1]]
    assert any("matched/P3" in row for row in rows[0])


def test_a_resumed_run_may_watch_nothing_or_others(cut, tiny_data, tmp_path):
    folder = tmp_path / "nothing"
    shutil.copytree(cut, folder)
    train(tiny_data, out=folder, resume=True, workers=0, snapshots=0)
    assert recorded(folder) == [0, 10, 12]
    folder = tmp_path / "others"
    shutil.copytree(cut, folder)
    train(tiny_data, out=folder, resume=True, workers=0, snapshots=1)
    assert recorded(folder) == [20, 24]
    assert len(json.loads((folder / "snapshots" / "pictures.json").read_text())) == 1
    assert len(contents(folder, 24)["scenes"]) == 1


def test_fewer_than_none_are_refused(tiny_data, tmp_path):
    with pytest.raises(UsageError, match="snapshots must not be negative"):
        train(tiny_data, out=tmp_path / "run", snapshots=-1)


def drop_seconds(row):
    return {key: value for key, value in row.items() if key != "seconds"}
