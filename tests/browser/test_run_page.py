"""The page of one run."""

import json

import numpy as np
import pytest
import torch
from playwright.sync_api import expect

from report_run import explanation, timeline, write_run
from yolact.reporting.run_page import write_report
from yolact.reporting.run_record import read_run

CANVASES = ".view, .truth, .sum, .mask, .tiles.prototypes canvas"


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    run = write_run(tmp_path_factory.mktemp("runs") / "made")
    return write_report(read_run(run), timeline=timeline())


def pixels(page):
    return page.evaluate(
        "(all) => [...document.querySelectorAll(all)].map((each) => each.toDataURL())", CANVASES
    )


def wait_for(page, step):
    page.wait_for_function(
        "(step) => document.querySelector('.step').textContent.startsWith(`${step} (`)", arg=step
    )


def marks(page):
    return page.evaluate("Charts.plot('chart0.0').layout.shapes.map((shape) => shape.x0)")


def test_the_slider_moves_pictures_and_numbers_together(page_file, open_page):
    page = open_page(page_file)
    page.locator(".choices input").nth(2).check()
    last, numbers = pixels(page), page.locator(".figures").inner_text()
    assert marks(page) == [10]
    page.locator(".time").focus()
    page.keyboard.press("ArrowLeft")
    wait_for(page, 5)
    before = pixels(page)
    assert len(before) == len(last) == 4 + 6
    assert before[1] == last[1]  # the truth stays what it is
    dead = 4 + 3
    assert all(
        a != b for i, (a, b) in enumerate(zip(before, last, strict=True)) if i not in (1, 3, dead)
    )
    assert page.locator(".figures").inner_text() != numbers
    assert "0.05" in page.locator(".figures").inner_text()
    assert page.locator(".chosen").inner_text().startswith("3. ")  # keeps its rank
    assert marks(page) == [5]
    assert page.locator(".time").get_attribute("aria-valuetext").startswith("step 5 ")

    page.keyboard.press("ArrowLeft")
    wait_for(page, 0)
    assert page.locator(".choices").inner_text() == "None was found."
    assert page.locator(".detail").is_hidden()


def test_play_runs_to_the_end_and_pictures_can_be_chosen(page_file, open_page):
    page = open_page(page_file)
    first = pixels(page)
    page.locator(".pictures").select_option("1")
    page.wait_for_function(
        "(old) => document.querySelector('.view').toDataURL() !== old", arg=first[0]
    )
    page.locator(".play").press("Enter")
    assert page.locator(".play").get_attribute("aria-label") == "Pause"
    assert int(page.locator(".time").input_value()) < 2  # from the beginning
    expect(page.locator(".play")).to_have_attribute("aria-label", "Play")
    wait_for(page, 10)


def test_sums_in_the_page_are_those_of_the_network(page_file, open_page):
    page = open_page(page_file)
    page.locator(".time").fill("1")
    wait_for(page, 5)
    text = page.evaluate("""async () => {
      const scene = JSON.parse(document.getElementById("data").textContent).steps[1].scenes[0];
      const shown = new Scene(document.getElementById("scene"));
      shown.chosen = 1;
      const view = await picture(document.querySelector(".view").toDataURL());
      shown.show(await Scene.read(scene), view);
      return JSON.stringify(Array.from(shown.sumOf(shown.order.length)));
    }""")
    exact = explanation(5, 0)
    found = exact.detections
    spans = found.prototypes.amax(dim=(1, 2)) - found.prototypes.amin(dim=(1, 2))
    allowed = float((found.coefficients[1].abs() * spans).sum()) / 510 + 1e-3
    np.testing.assert_allclose(json.loads(text), torch.ravel(exact.logits(1)).numpy(), atol=allowed)


def test_charts_say_their_values_under_the_mouse(page_file, open_page):
    page = open_page(page_file)
    plot = page.locator("figure[data-chart='chart0.0'] .plot")
    plot.scroll_into_view_if_needed()
    point = plot.locator(".points path").first.bounding_box()
    page.mouse.move(point["x"] + point["width"] / 2, point["y"] + point["height"] / 2)
    page.wait_for_selector("figure[data-chart='chart0.0'] .hovertext")
    assert "5" in plot.locator(".hovertext").first.text_content()


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_wider_than_a_phone(page_file, open_page, dark):
    page = open_page(page_file, width=390, dark=dark)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_paper_shows_the_last_step(page_file, open_page):
    page = open_page(page_file)
    page.locator(".time").fill("0")
    wait_for(page, 0)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".step").inner_text().startswith("10 ")
    assert page.locator(".choices input").count() == 4
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    wait_for(page, 0)
