import json
from pathlib import Path

import pytest

from synthetic_runs import write_run
from yolact.errors import UsageError
from yolact.reporting.run_record import find_runs, read_run


def test_a_log_alone_is_a_run_even_half_written(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(
        '{"step": 1, "seconds": 2.0, "loss/total": NaN}\n'
        '{"step": 1, "seconds": 2.5, "mask/ap": 0.1, "box/ap": 0.2}\n'
        '{"step": 2, "seconds": 4.0, "mask/ap": 0.1}\n'
        '{"step": 3, "seconds": 6.0, "mask/ap": null}\n'
        '{"step": 4, "sec'
    )
    run = read_run(tmp_path)
    assert run.name == tmp_path.name
    assert (run.settings, run.about, run.analysis) == ({}, {}, None)
    assert (run.pictures, run.snapshots) == ((), ())
    assert len(run.rows) == 4
    assert run.series("loss/total") == ([1], [2.0], [None])
    assert run.series("box/ap") == ([1], [2.5], [0.2])
    assert [row["step"] for row in run.validations] == [1, 2, 3]
    assert run.best is not None
    assert run.best["step"] == 1  # the first of equals


def test_settings_alone_are_a_run_that_has_just_begun(tmp_path):
    (tmp_path / "config.yaml").write_text(
        "model: {anchors: {ratios: [1, 2]}}\ntraining: {steps: 5, loss: {box_weight: 1.5}}\n"
    )
    run = read_run(tmp_path)
    assert run.settings == {
        "model.anchors.ratios": [1, 2],
        "training.steps": 5,
        "training.loss.box_weight": 1.5,
    }
    assert run.rows == ()
    assert run.best is None


def test_snapshots_are_in_the_order_of_steps_and_damage_is_no_error(tmp_path):
    write_run(tmp_path / "run", 1)
    folder = tmp_path / "run" / "snapshots"
    folder.mkdir()
    for name in ("00000120", "00000003", "100000000"):
        (folder / f"{name}.json").write_text("{}")
    (folder / "pictures.json").write_text(json.dumps([{"name": "a.jpg"}]))
    (tmp_path / "run" / "about.json").write_text("{broken")
    (tmp_path / "run" / "analysis.json").write_text("[]")
    (tmp_path / "run" / "config.yaml").write_text("a: [b")
    run = read_run(tmp_path / "run")
    assert [file.stem for file in run.snapshots] == ["00000003", "00000120", "100000000"]
    assert run.pictures == ({"name": "a.jpg"},)
    assert (run.about, run.analysis, run.settings) == ({}, None, {})


def test_a_real_run_is_read(tiny_run):
    run = read_run(tiny_run)
    assert run.settings["training.steps"] == 6
    assert run.validations
    assert run.series("loss/total")[0]


def test_what_holds_no_run_is_refused(tmp_path):
    with pytest.raises(UsageError, match="holds no run"):
        read_run(tmp_path)


def test_a_folder_of_runs_means_all_of_them_once(tmp_path):
    b, a = write_run(tmp_path / "b", 1), write_run(tmp_path / "a", 2)
    (tmp_path / "other").mkdir()
    assert find_runs([tmp_path]) == [a, b]
    assert find_runs([b, tmp_path]) == [b, a]
    for folder, text in ((tmp_path / "other", "holds no run"), (Path("nowhere"), "is no folder")):
        with pytest.raises(UsageError, match=text):
            find_runs([folder])
