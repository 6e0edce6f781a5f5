"""``yolact report RUN RUN …``: runs beside each other."""

import os
from collections.abc import Sequence


def write_comparison(runs: Sequence[str | os.PathLike[str]], path: str | os.PathLike[str]) -> None:
    """Write the page that compares runs.

    Args:
        runs: Two or more run directories.
        path: Of the page, a single file.

    Raises:
        UsageError: If one of them holds no run.
    """
    raise NotImplementedError
