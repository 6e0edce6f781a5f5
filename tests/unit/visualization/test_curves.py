import numpy as np
from PIL import Image

from yolact.visualization.curves import draw_comparison, draw_curves

ROWS = [
    {"step": 1, "loss/box": 3.0, "loss/total": 9.0},
    {"step": 5, "mask/ap": None, "mask/ap50": 0.1, "box/ap": 0.2, "box/ap50": 0.3},
    {"step": 9, "loss/box": 1.0, "loss/total": 4.0},
]


def test_curves_are_drawn(tmp_path):
    draw_curves(ROWS, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 50


def test_an_empty_log_is_no_error(tmp_path):
    draw_curves([], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_runs_are_compared(tmp_path):
    later = [{**row, "step": row["step"] + 2} for row in ROWS]
    draw_comparison({"one": ROWS, "two": later, "nothing yet": []}, tmp_path / "both.png")
    with Image.open(tmp_path / "both.png") as picture:
        assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 50
