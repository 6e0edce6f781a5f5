"""What the page of a run holds, and what it leaves out."""

import itertools
import json
import re
import shutil

import pytest

from report_run import snapshot, timeline, write_run
from yolact.artifacts.run_directory import ABOUT, ANALYSIS, METRICS_LOG, RUN_CONFIG, SNAPSHOTS
from yolact.errors import UsageError
from yolact.inference.timing.timeline import Stage, Timeline
from yolact.reporting.run_page import MOST_STEPS, duration, spread, write_report


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "made")


def page_of(run, **options):
    page = write_report(run, **options).read_text(encoding="utf-8")
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return page[: data.start()], json.loads(data[1])


def test_a_step_is_told_as_it_was_recorded(run):
    page, data = page_of(run, timeline=timeline())
    assert [each["step"] for each in data["steps"]] == [0, 5, 10]
    recorded = snapshot(5)
    assert data["steps"][1]["scenes"] == recorded["scenes"]
    numbers = dict(data["steps"][1]["numbers"])
    assert numbers["Loss, total"] == "2"
    assert numbers["Mask AP, AP50, AP75"] == "0.05 · 0.05 · 0.05"
    assert data["steps"][1]["alive"] == ["5 of 6", "5 of 6"]
    assert data["steps"][1]["matched"][0] == ["P3", 1.0, "5.00"]
    assert data["steps"][1]["negatives"][2] == ["star", 1.0, "50.0%"]
    assert "Mask AP, AP50, AP75" not in dict(data["steps"][0]["numbers"])
    assert "Two objects are missed." in page
    assert "0.100 (step 10)" in page


def test_charts_hold_the_numbers_of_the_run(run):
    _, data = page_of(run)
    charts = {each["title"]: each for each in data["charts"].values()}
    (losses,) = [trace for trace in charts["Losses"]["data"] if trace["name"] == "total"]
    assert (losses["x"], losses["y"]) == ([5, 10], [2.0, 1.0])
    assert charts["Confusion matrix"]["data"][0]["z"][0] == [5, 1, 0, 2]
    assert [t["name"] for t in charts["Mask, IoU 0.50"]["data"]] == ["all", "disc", "ring"]
    assert [t["y"] for t in charts["AP by class, step 10"]["data"]] == [[0.1] * 3] * 2


def test_stages_that_do_not_need_each_other_lie_side_by_side(run):
    page, _ = page_of(run, timeline=timeline())
    lanes = dict(
        re.findall(r'<th scope="row">(\w+)</th>\s*<td class="track">.*?style="(.*?)"', page)
    )
    assert lanes["protonet"].startswith("margin-left:70.588%")  # 12 of 17 ms
    assert lanes["head"].startswith("margin-left:70.588%")
    assert lanes["masks"].startswith("margin-left:94.118%")
    assert page.count("bar beside") == 2
    assert "20.0 ms in a row" in page
    assert "Protonet and head do not need each other" in page
    assert "No stage works again for each object" in page


def test_a_model_that_pools_again_is_called_so(run):
    stages = (Stage("backbone", (), 0.1, 0.1), Stage("roi heads", ("backbone",), 0.2, 0.2, True))
    page, _ = page_of(run, timeline=Timeline("m", "cpu", (64, 64), 1, 1, 2.0, stages, 0.3, 0.4))
    assert "Done again for each object: roi heads." in page
    assert "do not need each other" not in page


@pytest.mark.parametrize("missing", [SNAPSHOTS, ANALYSIS, ABOUT, RUN_CONFIG, METRICS_LOG])
def test_what_is_missing_is_left_out(run, missing):
    place = run / missing
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    page, data = page_of(run)
    assert ("No pictures were recorded" in page) == (missing == SNAPSHOTS)
    assert ("There is no analysis" in page) == (missing == ANALYSIS)
    assert "It was not measured" in page
    assert bool(data["steps"]) == (missing != SNAPSHOTS)


def test_one_row_is_enough(tmp_path):
    (tmp_path / METRICS_LOG).write_text('{"step": 1, "seconds": 0.2, "loss/total": NaN}\n{"st')
    page, data = page_of(tmp_path)
    assert data["steps"] == []
    assert "<dd>1</dd>" in page


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(UsageError, match="holds no run"):
        write_report(tmp_path)


def test_steps_are_thinned_evenly():
    assert spread(5, 100) == [0, 1, 2, 3, 4]
    places = spread(1000, MOST_STEPS)
    assert (len(places), places[0], places[-1]) == (100, 0, 999)
    assert {b - a for a, b in itertools.pairwise(places)} <= {10, 11}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min 0 s"), (176, "2 min 56 s"), (7260, "2 h 1 min")],
)
def test_durations_are_said_shortly(seconds, text):
    assert duration(seconds) == text
