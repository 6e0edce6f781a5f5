"""Training on data that is hard to bear never meets a loss or gradient that is not finite.

The script tries as many sets and steps as anybody has time for; these are three of its sets.
"""

import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "nan_hunt.py"


@pytest.mark.slow
@pytest.mark.parametrize("number", [12, 13, 14])  # of 1, 3 and 12 kinds of pictures
def test_no_step_is_skipped(number, tmp_path):
    tried, skipped, is_finite = runpy.run_path(str(SCRIPT))["hunt"](tmp_path, number, steps=200)
    assert skipped == 0, tried
    assert is_finite, tried
