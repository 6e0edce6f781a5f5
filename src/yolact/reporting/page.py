"""Templates filled in: one HTML file that opens without a network."""

import json
import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from yolact.errors import UsageError
from yolact.files import write_text

_MARK = '<meta name="generator" content="yolact">'
_HEAD_BYTES = 1024


def write_page(
    template: str,
    path: str | os.PathLike[str],
    data: dict[str, Any],
    scripts: Sequence[str],
    **texts: Any,
) -> None:
    """Fill a template and write it whole.

    Args:
        template: File name in ``assets``.
        path: Of the page.
        data: For the page's scripts, of JSON types.
        scripts: File names in ``assets``, or ``plotly.min.js``, in the order in which the page runs
            them.
        texts: For the template itself, escaped there.
    """
    assets = files("yolact.reporting") / "assets"
    environment = Environment(
        loader=PackageLoader("yolact.reporting", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Inside a script element only "</" and "<!--" could end the data early.
    document = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    page = environment.get_template(template).render(
        data=document,
        style=(assets / "page.css").read_text(encoding="utf-8"),
        scripts=[_script(name) for name in scripts],
        **texts,
    )
    write_text(path, page.replace("<head>", f"<head>\n{_MARK}", 1))


def refuse_foreign(path: Path) -> None:
    """Refuse to write a page over anything but an older page of ours.

    Raises:
        UsageError: If ``path`` exists and is no page of ours.
    """
    if not path.exists():
        return
    if path.is_dir():
        raise UsageError(f"{path} is a folder; a page is one file.")
    with path.open("rb") as file:
        if _MARK.encode() not in file.read(_HEAD_BYTES):
            raise UsageError(
                f"{path} already exists and is no page of yolact; choose another --out."
            )


def _script(name: str) -> str:
    if name == "plotly.min.js":  # as its package brings it
        folder = files("plotly") / "package_data"
    else:
        folder = files("yolact.reporting") / "assets"
    return (folder / name).read_text(encoding="utf-8")
