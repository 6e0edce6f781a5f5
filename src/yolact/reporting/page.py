"""Templates filled in: one HTML file that opens without a network."""

import json
import os
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from yolact.files import write_text


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
    write_text(path, page)


def _script(name: str) -> str:
    if name == "plotly.min.js":  # as its package brings it
        folder = files("plotly") / "package_data"
    else:
        folder = files("yolact.reporting") / "assets"
    return (folder / name).read_text(encoding="utf-8")
