"""``yolact report RUN``: the page of one run."""

import os
from pathlib import Path

from yolact.inference.timing import Timeline


def write_report(
    run: str | os.PathLike[str],
    path: str | os.PathLike[str] | None = None,
    *,
    timeline: Timeline | None = None,
) -> Path:
    """Write the page that shows how a run learnt.

    Args:
        run: The run directory, finished or not.
        path: Of the page, a single file; ``report.html`` in the run directory by default.
        timeline: Where the model's time goes, if it was measured.

    Returns:
        Where the page is.

    Raises:
        UsageError: If ``run`` holds no run.
    """
    raise NotImplementedError
