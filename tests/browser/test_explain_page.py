"""The page of ``yolact explain``."""

import pytest

from yolact.inference.explanation import explain
from yolact.inference.load import load
from yolact.reporting.explain_page import write_explanation


@pytest.fixture(scope="module")
def page_file(tiny_run, tiny_data, tmp_path_factory):
    picture = next((tiny_data / "images").glob("val_*"))
    explanation = explain(load(tiny_run, device="cpu"), str(picture), score=0.0, max_detections=5)
    path = tmp_path_factory.mktemp("page") / "explained.html"
    write_explanation(explanation, path, model="tiny", picture=picture.name)
    return path


def test_objects_are_chosen_and_contributions_summed(page_file, open_page):
    page = open_page(page_file)
    assert page.locator(".choices input").count() == 5
    page.locator(".choices input").nth(2).check()
    assert page.locator(".chosen").inner_text().startswith("3. ")
    page.locator(".upto").fill("4")
    assert page.locator(".count").inner_text() == "4 of 24"
    assert page.locator(".contributions .left-out").count() == 20


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_wider_than_a_phone(page_file, open_page, dark):
    page = open_page(page_file, width=390, dark=dark)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
