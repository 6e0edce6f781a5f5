import csv
import json

from yolact.artifacts.run_directory import read_metrics
from yolact.training.callbacks import MetricsLog, row_spacing


def test_lines_and_table_hold_the_same(tmp_path):
    log = MetricsLog(tmp_path)
    log.add({"step": 1, "loss/total": 2.5})
    log.add({"step": 2, "mask/ap": None, "mask/ap50": 0.25})
    log.write_table()
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == log.rows
    with (tmp_path / "metrics.csv").open() as file:
        assert list(csv.DictReader(file)) == [
            {"step": "1", "loss/total": "2.5", "mask/ap": "", "mask/ap50": ""},
            {"step": "2", "loss/total": "", "mask/ap": "", "mask/ap50": "0.25"},
        ]


def test_going_on_drops_what_came_after_the_checkpoint(tmp_path):
    log = MetricsLog(tmp_path)
    for step in (1, 2, 3):
        log.add({"step": step})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "loss/to')  # cut off by a kill
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2, 3]
    log = MetricsLog(tmp_path, resume_at=2)
    log.add({"step": 3, "again": True})
    assert read_metrics(tmp_path / "metrics.jsonl") == [
        {"step": 1},
        {"step": 2},
        {"step": 3, "again": True},
    ]


def test_a_new_run_starts_a_new_log(tmp_path):
    MetricsLog(tmp_path).add({"step": 1})
    assert MetricsLog(tmp_path).rows == []
    assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_rows_get_rarer_but_never_by_more_than_a_hundredth():
    assert [row_spacing(step) for step in (1, 999, 9_999, 10_000, 99_999, 800_000)] == [
        10, 10, 10, 100, 100, 1000,
    ]  # fmt: skip
    assert sum(step % row_spacing(step) == 0 for step in range(1, 800_001)) == 2600
