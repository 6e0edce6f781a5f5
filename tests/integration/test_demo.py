"""The demo as a user runs it. Its length is a number of steps, however slow the machine is."""

import json
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_demo_tells_the_whole_story(command, tmp_path):
    done = command("demo", "--out", tmp_path / "demo", "--max-time", "00:15:00", "--json")
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["mask"]["ap50"] >= 0.6
    for size in ("ap_small", "ap_medium", "ap_large"):
        assert outcome["mask"][size] is not None
    report = Path(outcome["report"]).read_text(encoding="utf-8")
    for part in ("Step by step", "Confusion", "protonet"):
        assert part in report
    overlays = list((tmp_path / "demo" / "predictions" / "overlay").iterdir())
    assert len(overlays) == 24
    for number in range(1, 5):
        assert f"{number}/4" in done.stderr

    again = command("demo", "--out", tmp_path / "demo")
    assert again.returncode == 2
    assert "not empty" in again.stderr
