"""The report's files: the same from store and packs, whole, escaped, and its command's words."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner

import papers
from moebench.board.style import DARK, inline, styled, svg
from moebench.cli.report import command
from moebench.errors import DataError, ResultsError, UsageError
from moebench.records import Store
from moebench.studies import study_of
from moebench.studies.evidence import Part
from moebench.studies.facts import part_facts
from moebench.studies.plot import draw
from moebench.studies.write import check_report, pack_path, plan_parts, to_lines, write_evidence, write_report
from moebench.suites import load_experiment
from moebench.suites.request import ask
from moestudies.paper import REPORT
from moestudies.paper.figures import PLOTS
from test_paper_pack import planned

HOSTILE = "<script>alert(1)</script>|`rm`\x1b[31m"


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The reduced form, a part missing, written from a store."""
    folder = tmp_path_factory.mktemp("report")
    evidence = papers.evidence(full=False, seeds=3, leave_out="paper-latency")
    store = Store(folder / "results")
    plans = [planned(part, store) if part.runs else part for part in evidence.parts]
    page = write_report(load_experiment("paper"), plans, store.root)
    assert page == folder / "results" / "paper" / "report.html"
    return page.parent


def test_packs_and_store_give_the_same_bytes(report, tmp_path):
    page = write_report(load_experiment("paper"), report, tmp_path / "nothing", tmp_path / "again")
    assert page == tmp_path / "again" / "report.html"
    first, second = files(report), files(tmp_path / "again")
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_what_is_written(report):
    names = set(files(report))
    drawn = {plot.name for plot in PLOTS} - {"layer-cost", "model-cost", "conditions"}
    assert {name for name in names if name.startswith("figures/")} == {
        f"figures/{name}.{suffix}" for name in drawn for suffix in ("svg", "png")
    }
    packs = {suite.name for suite in load_experiment("paper").suites}
    assert names >= {"report.html", "report.md", "claims.json", *(f"{name}.jsonl" for name in packs)}


class Page(HTMLParser):
    """Tags in balance, ids, links, and text."""

    VOID = frozenset(("meta", "br", "wbr", "link", "img"))

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.tags, self.links, self.words = [], [], set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        found = dict(attrs)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found[name] for name in ("href", "src", "xlink:href") if found.get(name)]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_is_whole_and_needs_nothing_else(report):
    page = Page((report / "report.html").read_text())
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert not page.tags & {"script", "img", "image", "link", "iframe"}
    for link in page.links:
        assert link.startswith(("#", "figures/"))
        assert (report / link).is_file() if link.startswith("figures/") else link[1:] in page.ids


def test_the_page_says_what_is_missing_and_what_was_left_out(report):
    text = " ".join("".join(Page((report / "report.html").read_text()).words).split())
    assert "It has not run." in text
    assert "Not drawn, for nothing of it has run: " in text
    assert "2 of 5 seeds" in text
    assert "soft_moe with experts = 2, 8, 32, 256, 512" in text
    assert "reduced form, 3 seeds" in text
    assert papers.MACHINE in text


def test_every_rule_and_verdict_is_on_the_page(report):
    text = " ".join("".join(Page((report / "report.html").read_text()).words).split())
    claims = json.loads((report / "claims.json").read_text())["claims"]
    markdown = (report / "report.md").read_text()
    assert len(claims) > 25
    for claim in claims:
        assert all(claim[name] in text for name in ("statement", "rule", "paper", "here", "reason"))
    assert markdown.count("\n| ") == len(claims) + 2
    counted = r"(\d+) holds?, (\d+) do(?:es)? not hold,(?: and)? (\d+) (?:is|are) undecided"
    counted += r"(?:, and (\d+) (?:is|are) not testable at this scale)?\."
    of = {"paper": rf"Of 17 published claims {counted}", "extension": rf"Of 16 extensions asked here {counted}"}
    for source, words in of.items():
        found = [claim["verdict"] for claim in claims if claim["source"] == source]
        numbers = [*map(found.count, ("holds", "does not hold", "undecided", "not testable at this scale"))]
        tally = re.search(words, text)
        assert tally is not None
        assert [int(number or 0) for number in tally.groups()] == numbers
    assert markdown.splitlines()[2].count("Of 17 published claims") == 1


def test_names_are_escaped(tmp_path):
    evidence = papers.evidence(name="paper-variants", full=False)
    (part,) = evidence.parts
    first = part.runs[0]
    provenance = {"device": HOSTILE, "versions": {"torch": HOSTILE}}
    record = first.record.model_copy(update={"provenance": provenance})
    runs = (type(first)(first.row, first.index, record), *part.runs[1:])
    hostile = Part(part.suite, False, 2, runs, ((HOSTILE, "error", HOSTILE),))
    write_evidence(REPORT, type(evidence)(HOSTILE, HOSTILE, (hostile,)), tmp_path)
    page, markdown = (tmp_path / "report.html").read_text(), (tmp_path / "report.md").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "<script" not in markdown
    assert "\x1b" not in page + markdown


@pytest.fixture(scope="module")
def tiny():
    return papers.evidence(full=False, seeds=1)


@pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.name)
def test_every_figure_is_drawn_from_little_and_none_from_nothing(plot, tiny):
    evidence = papers.evidence(name=plot.part, seeds=1) if plot.name == "conditions" else tiny
    with styled():
        figure = plot.draw(evidence)
        text = svg(figure)
    assert text.startswith("<?xml")
    assert "<image" not in text
    assert all(axis.get_xlabel() or axis.get_title("left") for axis in figure.axes if axis.get_label() != "<colorbar>")
    assert plot.draw(papers.evidence(name=plot.part, full=False, leave_out=plot.part)) is None
    assert plot.seen(papers.evidence(name=plot.part, full=False, leave_out=plot.part)) == ""


def test_an_inlined_figure_keeps_to_itself():
    text = '<?xml?><svg width="9pt" height="3pt" viewBox="0 0 9 3"><path id="a" style="stroke: #1b1f24"/>'
    text += '<use xlink:href="#a" clip-path="url(#b)"/></svg>'
    body = inline(text, "mine", 'what "it" shows')
    assert 'id="mine-a"' in body
    assert 'xlink:href="#mine-a"' in body
    assert "url(#mine-b)" in body
    assert "var(--c1b1f24)" in body
    assert 'viewBox="0 0 9 3"' in body
    assert "9pt" not in body
    assert 'aria-label="what &#34;it&#34; shows"' in body
    assert not any(colour in body for colour in DARK)


def test_parts_outside_the_report_are_neither_drawn_nor_missed():
    drawn, absent = draw(PLOTS, papers.evidence(name="paper-latency", full=False, seeds=1))
    assert ([d.name for d in drawn], absent) == (["layer-cost", "model-cost"], [])


def test_which_suites_have_a_report():
    assert study_of(load_experiment("paper")) is REPORT
    assert study_of(load_experiment("paper-norm")) is REPORT
    assert study_of(load_experiment("quick")) is None
    with pytest.raises(UsageError) as caught:
        check_report(load_experiment("quick"))
    assert caught.value.code == "suite-without-claims"
    assert {"paper", "paper-norm", "cnn"} < {*caught.value.facts["known"]}


FIXED = """
title = "mine"
seeds = 1
full_seeds = 2
[training]
steps = 1
batch = 1
optimiser = "adam"
lr = 1e-3
[[row]]
name = "5x2"
task = "norm"
host = { name = "token_sum", tokens = 5 }
variant = "soft_moe"
width = 20
"""


def test_nothing_has_run(tmp_path):
    path = tmp_path / "paper-norm.toml"
    path.write_text(f'study = "paper"\n{FIXED}')
    words = [str(path), "--results", str(tmp_path), "--full"]
    with pytest.raises(ResultsError, match="has no results of suite 'paper-norm'; run it with ") as caught:
        CliRunner().invoke(command, words, catch_exceptions=False)
    assert caught.value.facts["run"] == f"moebench run {path} --full"


def test_a_part_without_its_data_is_left_out_with_the_reason(monkeypatch, tmp_path):
    def plan(request, results):
        if request.suite.name in lost:
            raise DataError("there is no such data set.")
        return request.suite.name

    monkeypatch.setattr("moebench.studies.write.get_plan", plan)
    lost = {"paper-depth"}
    found = plan_parts(ask("paper", full=True), tmp_path)
    assert found[:4] == ["paper-norm", "paper-specialization", "paper-mnist", "paper-variants"]
    assert part_facts(found[4]).missing == "Not planned: there is no such data set."
    lost = {"paper-norm"}
    with pytest.raises(DataError, match="no such data set"):
        plan_parts(ask("paper-norm", full=True), tmp_path)


def test_the_command_makes_the_report_of_packs(tmp_path):
    (part,) = papers.evidence(name="paper-latency", full=False, seeds=1).parts
    pack_path(tmp_path, part.name).write_text(to_lines(part))
    out = tmp_path / "out"
    words = ["paper-latency", "--packs", str(tmp_path), "--out", str(out)]
    result = CliRunner().invoke(command, words, catch_exceptions=False)
    assert result.output == f"{out / 'report.html'}\n"
    assert (out / "report.html").is_file()
    with pytest.raises(UsageError, match="leave --full out"):
        CliRunner().invoke(command, [*words, "--full"], catch_exceptions=False)
