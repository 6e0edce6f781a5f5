import json

import pytest

from synthetic_runs import write_about, write_run
from yolact.reporting.compare_page import write_comparison
from yolact.reporting.run_record import read_run


def test_two_runs_become_a_page(command, tmp_path):
    for index in (1, 2):
        write_run(tmp_path / "runs" / str(index), index)
    done = command("report", "runs", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "comparison.html"
    assert lines[0] == "runs/1: mask AP 0.209, box AP 0.309 after 200 steps"
    page = (tmp_path / "comparison.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "").partition("plotly.js")[0]


def test_json_says_which_is_best(quick_command, tmp_path):
    runs = [write_run(tmp_path / str(index), index) for index in (1, 2)]
    (tmp_path / "2" / "metrics.jsonl").unlink()
    done = quick_command("report", *runs, "--json", "--out", "c.html", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert document["report"] == "c.html"
    assert [run["step"] for run in document["runs"]] == [200, None]
    assert document["runs"][0]["mask_ap"] == pytest.approx(0.21 * (1 - 0.006738), rel=1e-4)


def test_what_is_no_page_of_ours_stays(quick_command, tmp_path):
    for index in (1, 2):
        write_run(tmp_path / str(index), index)
    (tmp_path / "mine.html").write_text("<html>mine</html>")
    done = quick_command("report", "1", "2", "--out", "mine.html", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "yolact: mine.html already exists and is no page of yolact; choose another --out.\n"
    )
    assert (tmp_path / "mine.html").read_text() == "<html>mine</html>"
    for _ in range(2):  # a page of ours is made anew
        assert quick_command("report", "1", "2", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("words", [("nowhere",), (".",), ("1", "empty"), ("1", "2", "--out", ".")])
def test_bad_folders_are_refused_in_a_sentence(quick_command, tmp_path, words):
    if words[0] == "1":
        for index in (1, 2):
            write_run(tmp_path / str(index), index)
    (tmp_path / "empty").mkdir()
    done = quick_command("report", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def page_data(path):
    text = path.read_text().partition('id="data">')[2].partition("</script>")[0]
    return json.loads(text)


def test_only_what_differs_is_listed(tmp_path):
    runs = [
        write_run(tmp_path / "a" / "run", 1, seed=3),
        write_run(tmp_path / "b" / "run", 3, seed=3, freeze=["fpn"], clip=None),
    ]
    write_about(runs[0], fingerprint="a" * 64, torch="2.9")
    write_about(runs[1], fingerprint="a" * 64, torch="2.10")
    path = tmp_path / "page.html"
    write_comparison([read_run(run) for run in runs], path)
    data = page_data(path)
    assert data["names"] == ["a/run", "b/run"]
    settings = data["tables"]["settings"]
    by_name = dict(zip(settings["head"], zip(*settings["rows"], strict=True), strict=True))
    assert by_name == {
        "training.learning_rate": (0.002, 0.004),
        "training.freeze": ("-", "fpn"),
        "training.clip": ("-", "none"),
    }
    assert data["tables"]["surroundings"] == {
        "head": ["versions.torch"],
        "best": [None],
        "rows": [["2.9"], ["2.10"]],
    }
    assert "not validated on the same data" not in path.read_text()


def test_runs_with_nothing_in_them_are_compared_too(tmp_path):
    runs = []
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text("training: {steps: 5}\n")
        runs.append(tmp_path / name)
    write_comparison([read_run(run) for run in runs], tmp_path / "page.html")
    assert set(page_data(tmp_path / "page.html")["charts"]) == {"mask-ap", "box-ap", "loss"}
