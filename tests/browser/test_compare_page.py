"""The page that compares runs, with thirty of them."""

import pytest
from playwright.sync_api import expect

from synthetic_runs import write_about, write_run
from yolact.reporting.compare_page import write_comparison
from yolact.reporting.run_record import read_run


@pytest.fixture(scope="module")
def thirty(tmp_path_factory):
    folder = tmp_path_factory.mktemp("thirty")
    runs = [write_run(folder / f"run-{i:02}", i, validations=100, rows=1000) for i in range(30)]
    for index, run in enumerate(runs):
        write_about(run, fingerprint=("a" if index else "b") * 64)
    path = folder / "comparison.html"
    write_comparison([read_run(run) for run in runs], path)
    return path


def shown(page, chart: str) -> int:
    return page.evaluate(
        f"Charts.plot('{chart}').data.filter((trace) => trace.visible !== false).length"
    )


def first_cells(page, place: str) -> list[str]:
    return page.locator(f"{place} tbody th").all_inner_texts()


def test_thirty_runs_are_drawn_thin_and_say_who_they_are(thirty, open_page):
    page = open_page(thirty)
    assert shown(page, "mask-ap") == shown(page, "loss") == shown(page, "settings") == 30
    assert page.evaluate("Charts.plot('loss').data.every((trace) => trace.x.length <= 300)")
    assert "not validated on the same data" in page.locator(".warning").inner_text()
    plot = page.locator("[data-chart=settings] .plot")
    plot.scroll_into_view_if_needed()
    place = plot.locator(".points path").first.bounding_box()
    page.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    page.wait_for_selector("[data-chart=settings] .hoverlayer .hovertext")
    assert "learning_rate: " in plot.locator(".hoverlayer").text_content()


def test_the_choice_of_runs_reaches_every_chart_and_table(thirty, open_page):
    page = open_page(thirty)
    page.locator("#none").click()
    for run in (3, 12):
        page.locator(".runs input").nth(run).check()
    for chart in ("mask-ap", "box-ap", "loss", "settings"):
        assert shown(page, chart) == 2
    for table in ("#best", "#settings", "#surroundings"):
        assert first_cells(page, table) == ["run-03", "run-12"]
    assert page.locator("#best td.best").first.inner_text() == "0.318"  # 0.32 * (1 - exp(-5))
    page.locator("[data-chart=settings] summary").click()
    expect(page.locator("[data-chart=settings] tbody tr")).to_have_count(2)  # made when opened


def test_the_best_are_sorted_by_mouse_and_by_keyboard(thirty, open_page):
    page = open_page(thirty)
    heading = page.locator("#best thead th").nth(1)
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert first_cells(page, "#best")[:2] == ["run-29", "run-28"]
    heading.locator("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert first_cells(page, "#best")[:2] == ["run-00", "run-01"]


def test_curves_run_over_steps_or_over_time(thirty, open_page):
    page = open_page(thirty)
    ends = "Charts.plot('mask-ap').data[0].x.at(-1)"
    assert page.evaluate(ends) == 10_000
    page.locator("[name=along][value=time]").check()
    assert page.evaluate(ends) == pytest.approx(100)
    assert "minutes" in page.locator("[data-chart=mask-ap] .xtitle").text_content()


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_wider_than_a_phone(thirty, open_page, dark):
    page = open_page(thirty, width=390, dark=dark)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    colour = page.evaluate("Charts.plot('mask-ap').layout.paper_bgcolor")
    assert colour == ("#14161a" if dark else "#fff")
