"""A real browser, headless. Pages are opened from disk, and nothing they do may reach a network."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

READY_MS = 30_000


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The machine's Chromium; nothing is downloaded."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("needs chromium, which is not here (or set CHROMIUM to its path)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--enable-unsafe-swiftshader"]
        )
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Any]:
    """``open_page(path, width=…, dark=…)`` -> a page that is ready; complaints fail the test at its end."""
    complaints: list[str] = []
    pages: list[Page] = []

    def open_one(path: Path, *, width: int = 1200, height: int = 900, dark: bool = False) -> Page:
        page = browser.new_page(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
        )
        pages.append(page)
        page.on("console", lambda message: _note(complaints, message.type, message.text))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("request", lambda request: _foreign(complaints, request.url))
        page.goto(path.absolute().as_uri())
        page.wait_for_selector("body[data-ready=yes]", timeout=READY_MS)
        return page

    yield open_one
    for page in pages:
        page.close()
    assert not complaints, complaints


def _note(complaints: list[str], kind: str, text: str) -> None:
    if kind in ("error", "warning"):
        complaints.append(f"{kind}: {text}")


def _foreign(complaints: list[str], url: str) -> None:
    if not url.startswith(("file:", "data:", "blob:")):
        complaints.append(f"request: {url}")
