"""The board's page in a real browser: nothing is asked for, it sorts, filters, opens rows, and draws every row."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest

from boards import BUDGET, HOSTILE, hostile_board, small_board
from many import many_rows
from moebench.board import TEXTS
from moebench.board.model import Board


def write(root: Path, board: Board) -> str:
    """The page's address."""
    path = root / "board.html"
    path.write_text(TEXTS["html"](board))
    return path.as_uri()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A board of four rows."""
    root = tmp_path_factory.mktemp("page")
    return write(root, small_board(root / "r").board())


def names(page) -> list[str]:
    """The rows that are shown, in order."""
    rows = page.locator("table.board tr[data-row]:visible")
    return [text.split("\n")[0].strip() for text in rows.locator("th a[href^='#row-']").all_inner_texts()]


def address(page) -> str:
    """What the page has written there by now: Playwright's ``url`` follows a moment later."""
    return page.evaluate("location.href")


def show(page, column: str) -> None:
    """Choose a column that is not shown at first."""
    page.locator("summary", has_text="Columns").first.click()
    page.get_by_label(column, exact=True).first.check()
    page.keyboard.press("Escape")
    page.locator("summary", has_text="Columns").first.click()


def test_the_first_screen_says_what_was_found(visit, url: str) -> None:
    """What won, by how much, how sure, at what cost, with the picture and every ranked row, without scrolling."""
    page, _ = visit(url, height=800)
    found = page.locator(".found").first
    latency = "latency 0.69x dense at batch 64"
    for text in ("soft_moe has significantly the best accuracy", "0.011 ahead of dense (0.0", latency):
        assert text in found.inner_text()
    last = page.locator("tr[data-ranked]").last
    for each in (found, page.locator("#chart-scatter-0 svg"), last, last.locator('[data-col="latency"]')):
        box = each.bounding_box()
        assert box["y"] + box["height"] <= 800
        assert box["x"] + box["width"] <= 1280
    page, _ = visit(url, width=390, height=844)
    box = page.locator("tr[data-ranked]").last.bounding_box()
    assert box["y"] + box["height"] <= 2 * 844


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_serious(browser, axe: str, url: str, dark: bool, width: int) -> None:
    """Contrast, names, roles and the rest of what axe-core can tell of a page, opened as far as it unfolds."""
    scheme = "dark" if dark else "light"
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True, java_script_enabled=True
    )
    page = context.new_page()
    page.goto(url)
    page.locator("details.more > summary").evaluate_all("all => all.forEach((each) => each.click())")
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    context.close()
    assert [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")] == []


def test_columns_are_chosen_and_kept_in_the_address(visit, url: str) -> None:
    page, _ = visit(url)
    head = page.locator("thead th", has_text="FLOPs per input, whole model")
    assert not head.is_visible()
    show(page, "FLOPs per input, whole model")
    assert head.is_visible()
    again, heard = visit(address(page))
    assert again.locator("thead th", has_text="FLOPs per input, whole model").is_visible()
    assert heard.errors == []


def test_sort_and_filter_are_kept_in_the_address(visit, url: str) -> None:
    page, _ = visit(url)
    page.get_by_role("button", name="active parameters").click()
    page.get_by_role("searchbox", name="Filter").fill("o")
    assert "sort=active_params.low" in address(page)
    again, _ = visit(address(page))
    assert names(again) == names(page)
    assert again.get_by_role("searchbox", name="Filter").input_value() == "o"


def test_rows_are_compared_side_by_side(visit, url: str) -> None:
    page, _ = visit(url)
    button = page.get_by_role("button", name="Compare")
    assert button.is_disabled()
    for name in ("soft_moe", "random_router"):
        page.get_by_label(f"compare {name}").check()
    button.click()
    lines = page.get_by_role("dialog").locator("tr")
    assert lines.first.inner_text().split() == ["row", "soft_moe", "random_router"]
    assert "0.976" in lines.filter(has_text="accuracy").first.inner_text()


@pytest.mark.parametrize("form", ["CSV", "JSON"])
def test_what_is_shown_is_downloaded(visit, url: str, form: str) -> None:
    page, _ = visit(url)
    page.get_by_role("searchbox", name="Filter").fill("soft")
    page.locator("summary", has_text="Download").click()
    with page.expect_download() as waiting:
        page.get_by_role("button", name=form, exact=True).click()
    text = Path(waiting.value.path()).read_text()
    lines = json.loads(text) if form == "JSON" else list(csv.DictReader(io.StringIO(text)))
    (line,) = lines
    assert line["variant"] == "soft_moe"
    assert float(line["representation"]) == pytest.approx(0.97633, abs=1e-4)
    assert float(line["representation_low"]) < 0.976


def test_tabs_show_one_budget_and_are_kept_in_the_address(visit, tmp_path: Path) -> None:
    bench = small_board(tmp_path / "r", budgets=[BUDGET, 4 * BUDGET])
    bench.fill("dense", (0.98, 0.99, 0.985), budget=4 * BUDGET)
    bench.fill("soft_moe", (0.975, 0.977, 0.977), budget=4 * BUDGET)
    page, _ = visit(write(tmp_path, bench.board()))
    assert [page.locator("section[data-board]").nth(n).is_visible() for n in (0, 1)] == [True, False]
    page.get_by_role("link", name="1.06M parameters").click()
    assert [page.locator("section[data-board]").nth(n).is_visible() for n in (0, 1)] == [False, True]
    again, _ = visit(address(page))
    assert again.locator(".tabs [aria-current]").inner_text() == "1.06M parameters"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_loads_with_no_error_and_asks_nobody_for_anything(visit, url: str, dark: bool, width: int) -> None:
    page, heard = visit(url, width=width, dark=dark)
    assert heard.errors == []
    assert heard.requests == [url]
    assert names(page) == ["soft_moe", "dense", "sparse_topk", "random_router"]
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", colour)[:3])) < 200) == dark
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), "no sideways"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_and_drawings_stand_out_from_the_page(visit, url: str, dark: bool) -> None:
    """Contrast of 4.5 to 1 or more, as WCAG asks of text; of a row's name, a small note, a drawing's label."""
    page, _ = visit(url, dark=dark)
    for selector in (
        ".found",
        "table.board tbody a",
        ".soft",
        "thead button",
        "svg.figure text",
        ".controls label",
        ".note",
    ):
        ratio = page.locator(selector).first.evaluate(
            """(element) => {
              const light = (colour) => {
                const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((c) => c / 255);
                const [r, g, b] = parts.map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
              };
              const style = getComputedStyle(element);
              const ink = light(element instanceof SVGElement ? style.fill : style.color);
              const paper = light(getComputedStyle(document.body).backgroundColor);
              return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
            }"""
        )
        assert ratio >= 4.5, f"{selector}: {ratio:.2f}"


def test_it_sorts_by_any_column_best_first_and_reference_rows_stay_apart(visit, url: str) -> None:
    page, _ = visit(url)
    show(page, "selection gain")
    page.get_by_role("button", name="latency, batch 64").click()
    assert names(page) == ["soft_moe", "dense", "sparse_topk", "random_router"]
    page.get_by_role("button", name="selection gain").click()
    assert names(page) == ["sparse_topk", "soft_moe", "dense", "random_router"], "without experts comes last"
    head = page.locator("thead th", has_text="selection gain")
    assert head.get_attribute("aria-sort") == "descending"
    page.get_by_role("button", name="selection gain").click()
    assert names(page) == ["soft_moe", "sparse_topk", "dense", "random_router"]
    assert head.get_attribute("aria-sort") == "ascending"
    page.get_by_role("button", name="active parameters").click()
    assert names(page)[0] == "sparse_topk"
    page.get_by_role("button", name="rank").click()
    assert names(page) == ["soft_moe", "dense", "sparse_topk", "random_router"]


def test_it_sorts_on_a_phone_too(visit, url: str) -> None:
    page, _ = visit(url, width=390)
    page.get_by_label("Sort by", exact=True).select_option(label="FLOPs per input")
    assert "sort=flops_per_input.low" in address(page)
    assert names(page)[0] == "sparse_topk"


def test_the_points_of_the_drawing_can_be_reached_and_say_their_names(visit, url: str) -> None:
    """A link inside an image has no name for who hears the page; the drawing that holds links is a group."""
    page, _ = visit(url)
    drawing = page.locator("svg.figure:has(a[data-row])").first
    assert drawing.get_attribute("role") == "group"
    spoken = drawing.aria_snapshot()
    assert 'link "soft_moe, 0.976 ±0.003' in spoken
    others = page.locator("svg.figure:not(:has(a))")
    assert set(others.evaluate_all("all => all.map((each) => each.getAttribute('role'))")) <= {"img"}


def test_it_filters_by_name_and_kind_and_says_how_many_are_left(visit, url: str) -> None:
    page, _ = visit(url)
    page.get_by_role("searchbox", name="Filter").fill("MOE")
    assert names(page) == ["soft_moe"]
    assert page.locator("output[name=count]").inner_text() == "1 of 4 rows"
    assert not page.locator("tr.group").first.is_visible(), "a heading of nothing"
    page.get_by_role("searchbox", name="Filter").fill("")
    page.get_by_label("Rows", exact=True).select_option(label="ranked")
    assert names(page) == ["soft_moe", "dense", "sparse_topk"]
    page.get_by_label("Rows", exact=True).select_option(label="on the Pareto front, or perhaps")
    assert names(page) == ["soft_moe", "sparse_topk"]


def test_a_row_opens_in_a_drawer_by_mouse_and_by_keyboard(visit, url: str) -> None:
    page, _ = visit(url)
    drawer = page.get_by_role("dialog")
    assert not drawer.is_visible()
    page.locator("table.board a", has_text="soft_").click()
    assert drawer.get_by_role("heading", name="soft_moe").is_visible()
    for text in (
        "264,000",
        "8,448,000",
        "Best of the trials was trial 1",
        "0.975, 0.977, 0.977",
        "cpu (a test's processor)",
    ):
        assert text in drawer.inner_text()
    assert address(page).endswith("#row-0-0")
    records = drawer.locator(".seeds li")
    assert records.count() == 3
    assert re.fullmatch(r"[0-9a-f]{20}", records.first.inner_text())
    assert drawer.locator(".seeds a").count() == 0, "no server is here to link to"
    page.keyboard.press("Escape")
    assert not drawer.is_visible()
    assert page.evaluate("document.activeElement.textContent") == "soft_moe", "focus is back where it was"
    page.keyboard.press("Enter")
    assert drawer.is_visible()
    drawer.get_by_role("button", name="Close").click()
    assert not drawer.is_visible()


def test_a_link_to_a_row_opens_it(visit, url: str) -> None:
    page, heard = visit(f"{url}#row-0-2")
    assert page.get_by_role("dialog").get_by_role("heading", name="sparse_topk").is_visible()
    assert heard.errors == []


def test_the_plot_has_as_many_points_as_rows_and_each_opens_its_row(visit, url: str) -> None:
    page, _ = visit(url)
    points = page.locator("#chart-scatter-0 svg a")
    assert points.count() == len(names(page)) == 4
    assert sorted(points.locator("title").all_text_contents())[0].startswith("dense, 0.966")
    page.locator('#chart-scatter-0 svg a[data-row="1"]').click()
    assert page.get_by_role("dialog").get_by_role("heading", name="dense").is_visible()


def test_a_row_opens_on_links_to_its_paper_and_code(visit, url: str) -> None:
    page, heard = visit(url)
    page.locator("table.board a", has_text="soft_").click()
    links = page.get_by_role("dialog").locator("a.source")
    assert links.all_inner_texts() == ["paper", "code"]
    assert links.first.get_attribute("href") == "https://arxiv.org/abs/2308.00951"
    assert heard.requests == [url], "until a reader follows them"


def test_a_row_that_is_pointed_at_is_seen_in_the_drawings(visit, url: str) -> None:
    page, _ = visit(url)
    page.locator(".drawings > summary").click()
    page.locator("tr[data-row='0'] td.rank").hover()
    lit = page.locator("svg.figure .lit")
    assert {re.sub(r"-\d.*", "", i) for i in lit.evaluate_all("all => all.map((e) => e.closest('figure').id)")} == {
        "chart-scatter",
        "chart-batch1",
        "chart-retention",
        "chart-effort",
        "chart-training",
    }
    page.locator("h1").hover()
    assert lit.count() == 0


def test_without_its_script_the_page_is_whole(browser, url: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(url)
    assert names(page) == ["soft_moe", "dense", "sparse_topk", "random_router"]
    assert not page.locator("form.controls").first.is_visible()
    page.locator("details#row-0-0 summary").click()
    assert "Best of the trials was trial 1" in page.locator("details#row-0-0").inner_text()
    context.close()


def test_a_ladder_shows_quality_against_budget(visit, tmp_path: Path) -> None:
    bench = small_board(tmp_path / "r", budgets=[BUDGET, 4 * BUDGET])
    for row, accuracies in (("dense", (0.985, 0.99, 0.987)), ("soft_moe", (0.975, 0.977, 0.979))):
        bench.fill(row, accuracies, budget=4 * BUDGET)
    page, heard = visit(write(tmp_path, bench.board()))
    assert heard.errors == []
    page.get_by_role("link", name="All budgets").click()
    chart = page.locator("#chart-ladder")
    assert chart.locator("g[id*='-curve-']").count() == 2
    assert "soft_moe is ahead of dense at 264,000 and behind it at 1,056,000" in chart.inner_text()
    assert page.locator("section[data-board]").count() == 2


def test_each_task_has_a_tab_with_its_scores_its_order_and_its_drawing(visit, tmp_path: Path) -> None:
    bench = small_board(tmp_path / "r", tasks=["digits", "fashion_mnist"])
    for row, scores in (("dense", (0.86, 0.87, 0.88)), ("soft_moe", (0.81, 0.82, 0.80))):
        bench.fill(row, scores, task="fashion_mnist")
    page, heard = visit(write(tmp_path, bench.board()))
    tabs, chart = page.get_by_role("navigation", name="Tasks"), page.locator("figure.picture:visible")
    assert tabs.locator("[aria-current]").inner_text() == "Mean of all tasks"
    assert chart.evaluate_all("all => all.map((e) => e.id)") == ["chart-scatter-0"]
    tabs.get_by_role("link", name="Fashion-MNIST").click()
    assert names(page)[:2] == ["dense", "soft_moe"]
    assert page.locator("[data-col='task-1']:visible").first.inner_text().startswith("Fashion-MNIST")
    assert not page.locator("[data-col='vs_dense']").first.is_visible(), "which is of the mean"
    assert page.locator("[data-col='latency']").first.is_visible()
    assert chart.evaluate_all("all => all.map((e) => e.id)") == ["chart-scatter-0-task-1"]
    again, _ = visit(address(page))
    assert again.locator(".tasks [aria-current]").inner_text() == "Fashion-MNIST"
    again.get_by_role("link", name="Mean of all tasks").click()
    assert again.locator("[data-col='vs_dense']").first.is_visible()
    assert heard.errors == []


def test_every_place_of_a_ladders_page_has_a_name_of_its_own(visit, tmp_path: Path) -> None:
    bench = small_board(tmp_path / "r", budgets=[BUDGET, 4 * BUDGET])
    for row in ("dense", "soft_moe"):
        bench.fill(row, (0.98, 0.99, 0.985), budget=4 * BUDGET)
    bench.time({"dense": 4.1, "soft_moe": 3.2}, budget=4 * BUDGET)
    page, _ = visit(write(tmp_path, bench.board()))
    assert page.locator("#chart-ladder, section[data-board] figure").count() > 4, "drawings of both budgets"
    named = page.locator("[role=search], [role=region]").evaluate_all(
        "all => all.map((each) => each.getAttribute('aria-label') || each.getAttribute('aria-labelledby'))"
    )
    assert len(named) == len(set(named)), sorted(named)
    assert "The table for a budget of 1,056,000 parameters in the expert layers (total)" in named


def test_a_hostile_name_is_text_and_nothing_else(visit, tmp_path: Path) -> None:
    page, heard = visit(write(tmp_path, hostile_board(tmp_path / "r")))
    assert (heard.dialogs, heard.errors) == ([], [])
    page.locator("table.board a").first.click()
    assert "alert(1)" in page.get_by_role("dialog").inner_text()
    assert page.title().startswith(HOSTILE.replace("\x1b", " ")[:12])
    assert heard.dialogs == []
    assert len(heard.requests) == 1


def test_five_hundred_rows_open_fast_in_a_small_file(visit, tmp_path: Path) -> None:
    board = many_rows(tmp_path / "r", 500, seeds=4, trials=2).board()
    url = write(tmp_path, board)
    assert (tmp_path / "board.html").stat().st_size < 5_000_000
    page, heard = visit(url)
    assert heard.errors == []
    assert page.locator("#chart-scatter-0 svg a").count() == 500
    loaded = page.evaluate("performance.timing.loadEventEnd - performance.timing.navigationStart")
    assert loaded < 5000, f"{loaded} ms, on a machine that may be busy"
    sort = (
        "() => { const t = performance.now(); document.querySelectorAll('thead button')[5].click(); "
        "document.body.offsetHeight; return performance.now() - t; }"
    )
    sorting = min(page.evaluate(sort) for _ in range(5))  # the machine may be busy
    assert sorting < 200, f"{sorting} ms"
    assert len(names(page)) == 100
    page.get_by_role("button", name="Show all 500").click()
    assert len(names(page)) == 500
