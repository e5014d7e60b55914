"""MLflow's UI on a real store, as `moebench ui` serves it: the experiment, its runs, the board, and a hostile name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import tracking_world
from moebench.mlflow_store.database import open_client
from moebench.mlflow_store.write import Mirror
from moebench.records import Store
from tracking_world import MLFLOW_WARNINGS, make_plan, put_all, put_board, ready_results

pytestmark = MLFLOW_WARNINGS
HOSTILE = "<script>alert(1)</script>"
BOARD = "| rank | variant |\n| --- | --- |\n| 1 | the best of them |\n"
SLOW = 60_000
"""Milliseconds: MLflow's page takes seconds to start, more on a machine that is busy."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Store]]:
    """Address of a `moebench ui` on results with two rows, one of them hostile; and the records."""
    results = ready_results(tmp_path_factory.mktemp("ui") / "results")
    store, plan = Store(results), make_plan(rows=("dense", HOSTILE))
    put_all(store, plan)
    put_board(results / "tiny", markdown=BOARD)
    (results / "tiny" / "latest.json").write_text('{"suite": "tiny", "extras": [], "data": null}', encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        Mirror(store, open_client(results)).write(plan)
        with tracking_world.served(results) as (url, lines):
            assert lines[1].startswith(f"MLflow  {url}/"), lines
            yield url, store


def only_asked_here(heard, url: str) -> bool:
    return all(request.startswith((url, "data:", "blob:", "about:")) for request in heard.requests)


def test_the_printed_link_leads_to_the_leaderboard(visit, served) -> None:
    """With a browser that has never seen MLflow: studies, the best first, and the columns of the board."""
    url, _ = served
    page, heard = visit(f"{url}/moebench/mlflow", width=1600)
    page.get_by_text("dense digits", exact=True).first.wait_for(timeout=SLOW)
    assert "/runs?viewStateShareKey=moebench" in page.url
    assert "2 matching runs" in page.inner_text("body"), "of twelve"
    place = "all => all.map((e) => [e.getBoundingClientRect().x, e.getAttribute('col-id')])"
    heads = [name for _, name in sorted(page.locator(".ag-header-cell").evaluate_all(place))]
    shown = [head for head in heads if head.startswith("metrics.")]
    assert shown == [f"metrics.`{name}`" for name in ("test_accuracy", "forward_ms", "active_params")]
    assert page.get_by_role("button", name="Close").count() == 0, "nothing stands before it"
    page.goto(f"{url}/moebench/")
    page.get_by_role("link", name="in MLflow").click()
    page.get_by_text("dense digits", exact=True).first.wait_for(timeout=SLOW)
    assert "viewStateShareKey=moebench" in page.url
    assert only_asked_here(heard, url)


def test_one_click_leads_from_the_list_to_the_runs(visit, served) -> None:
    url, _ = served
    page, heard = visit(f"{url}/moebench/mlflow", width=1600)
    page.get_by_text("dense digits", exact=True).first.wait_for(timeout=SLOW)
    page.goto(f"{url}/#/experiments")
    page.reload()
    page.get_by_role("link", name="moebench/tiny/protocol 1").first.click(timeout=SLOW)
    for name in ("latency digits", "dense digits"):
        page.get_by_text(name, exact=True).first.wait_for(timeout=SLOW)
    assert "/runs" in page.url
    assert only_asked_here(heard, url)


def test_the_experiment_is_listed_with_its_board(visit, served) -> None:
    url, _ = served
    page, heard = visit(f"{url}/#/experiments?workflowType=machine_learning")
    page.get_by_text("moebench/tiny/protocol 1").first.wait_for(timeout=SLOW)
    assert "the best of them" in page.inner_text("body")
    assert only_asked_here(heard, url)


def test_its_runs_have_readable_names_and_the_board_stands_above_them(visit, served) -> None:
    url, _ = served
    page, heard = visit(f"{url}/#/experiments/1/runs?workflowType=machine_learning", width=1600)
    for name in ("latency digits", "dense digits", f"{HOSTILE} digits"):
        page.get_by_text(name, exact=True).first.wait_for(timeout=SLOW)
    text = page.inner_text("body")
    assert "12 matching runs" in text
    assert "digits (d)" in text, "the data set with its digest"
    assert "the best of them" in text
    assert heard.dialogs == []


def test_the_address_of_a_record_leads_to_its_run(visit, served) -> None:
    url, store = served
    record = next(r for r in store.records() if r.cell["kind"] == "final" and "test_accuracy" in r.scores)
    page, heard = visit(f"{url}/moebench/run/{record.identity}")
    page.get_by_text("flops_per_input").first.wait_for(timeout=SLOW)
    assert re.search(r"/#/experiments/1/runs/[0-9a-f]{32}", page.url)
    text = page.inner_text("body")
    for part in ("test_accuracy", "train_seconds", "code_digest", "experts", "moebench.identity", record.identity):
        assert part in text
    assert heard.dialogs == []


def test_a_hostile_name_is_text_in_mlflow_too(visit, served) -> None:
    url, store = served
    record = next(r for r in store.records() if r.cell["variant"] == HOSTILE and r.cell["kind"] == "final")
    page, heard = visit(f"{url}/moebench/run/{record.identity}")
    page.get_by_text("flops_per_input").first.wait_for(timeout=SLOW)
    assert HOSTILE in page.inner_text("body")
    assert heard.dialogs == []


def test_a_board_that_moebench_ui_serves_links_to_the_mlflow_beside_it(visit, served, tmp_path: Path) -> None:
    from boards import small_board
    from moebench.board import TEXTS

    url, store = served
    (store.root / "tiny" / "board.html").write_text(TEXTS["html"](small_board(tmp_path).board()))
    page, heard = visit(f"{url}/moebench/")
    page.get_by_role("link", name="tiny/board.html").click()
    page.get_by_role("heading", name="A board made by hand").wait_for()
    page.locator("table.board a").first.click()
    link = page.get_by_role("dialog").locator(".seeds a").first.get_attribute("href")
    assert re.fullmatch(r"/moebench/run/[0-9a-f]{20}", link)
    assert heard.errors == []


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="Linux only")
def test_only_this_machine_can_ask_it(served) -> None:
    """Whatever listens at its port is bound to the loopback address, which /proc writes as 0100007F."""
    url, _ = served
    port = f"{int(url.rpartition(':')[2]):04X}"
    listening = [
        place
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        for place, _, state in [line.split()[1:4]]
        if state == "0A" and place.endswith(f":{port}")
    ]
    assert listening == [f"0100007F:{port}"]
