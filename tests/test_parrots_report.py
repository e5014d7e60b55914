"""The report of the suite parrots: its page, its figures from little and from nothing, and the same from packs."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import pytest

from moebench.board.style import styled, svg
from moebench.studies.facts import size_tables
from moebench.studies.write import write_evidence
from moestudies.parrots import REPORT, SIZED
from moestudies.parrots.figures import PLOTS
from moestudies.parrots.rows import PATHS, RECALL
from test_parrots_claims import evidence


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parrots")
    write_evidence(REPORT, evidence(), folder)
    return folder


def test_what_is_written(report):
    names = {str(path.relative_to(report)) for path in report.rglob("*") if path.is_file()}
    assert names == {
        *("report.html", "report.md", "claims.json", f"{RECALL}.jsonl", f"{PATHS}.jsonl"),
        *(f"figures/{name}.{suffix}" for name in ("recall", "paths") for suffix in ("svg", "png")),
    }


def test_the_page_says_rules_verdicts_and_both_axes(report):
    page = re.sub(r"\s+", " ", (report / "report.html").read_text())
    claims = json.loads((report / "claims.json").read_text())["claims"]
    assert [claim["verdict"] for claim in claims] == ["holds"] * 4
    for claim in claims:
        assert claim["rule"] in page
        assert claim["statement"] in page
    assert "equal active parameters" in page
    assert "equal totals of the whole model" in page
    assert "Known by heart at equal active parameters: 560 pairs (dense), 790 pairs (E = 4)" in page
    assert "Right at equal totals: 61.0% (D = 16), 75.0% (D = 24), 85.0% (D = 32)." in page


@pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.name)
def test_every_figure_is_drawn_from_little_and_none_from_nothing(plot):
    with styled():
        figure = plot.draw(evidence(name=plot.part, seeds=1))
        assert svg(figure).startswith("<?xml")
    nothing = evidence(name=plot.part, leave_out=plot.part)
    assert plot.draw(nothing) is None
    assert plot.seen(nothing) == ""


def test_an_axis_of_a_figure_is_a_dot_or_a_line_a_model():
    recall, paths = (plot.draw(evidence()) for plot in PLOTS)
    lines = [[line.get_label() for line in axis.get_lines() if line.get_label()[0] != "_"] for axis in recall.axes]
    assert lines == [["dense", "E = 4", "E = 32"], ["D = 16, E = 32", "D = 24, E = 16", "D = 32, E = 8"]]
    ticks = [[label.get_text() for label in axis.get_xticklabels()] for axis in paths.axes]
    assert ticks == lines


def run_of(dim, experts, total, active):
    """A run that has been counted; without experts where None."""
    counts = {
        "sizes": [5, 6],
        "layers": [{"dim": dim}] * 2,
        "total_params": total,
        "active_params": active,
        "budget_error": 0.001,
        "flops_per_input": 10,
        "model_params": total + 7,
    }
    settings = {"experts": experts}
    return SimpleNamespace(record=SimpleNamespace(counts=counts), setting=settings.get)


def test_the_tables_of_sizes_say_width_and_active_parameters_difference_at():
    runs = {
        "dense": [run_of(16, None, 100, 100)] * 2,
        "top-2": [run_of(16, 4, 200, 110), run_of(16, 2, 150, 110)],
        "wide": [run_of(32, 4, 200, 120)],
    }
    fake = SimpleNamespace(find=lambda part, kind, row: iter(runs[row]))
    one, both, plain = size_tables(
        [("p", ("dense", "top-2"), "one"), ("p", ("top-2", "wide"), "both"), ("p", ("dense",), "plain")], fake
    )
    assert [(row.experts, row.router, row.width) for row in one.rows] == [
        (1, 0, "5 6"),
        (2, 64, "5 6"),
        (4, 128, "5 6"),
    ]
    assert (one.of_widths, one.sparse) == (False, True)
    assert (both.of_widths, both.sparse) == (True, True)
    assert (plain.of_widths, plain.sparse, len(plain.rows)) == (False, False, 1)


def test_all_its_tables_are_of_arms_that_ran(report):
    assert len(size_tables(SIZED, evidence())) == 4
    page = (report / "report.html").read_text()
    assert page.count("width D") == 2
