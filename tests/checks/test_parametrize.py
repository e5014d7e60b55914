"""The checks as an author's own tests, run by a pytest inside this one."""

from __future__ import annotations

import os

import pytest
from good import Good

from moebench.checks import all_checks, conformance
from moebench.errors import UnknownNameError

TESTS = """
import sys
sys.path.insert(0, {here!r})
from moebench.checks import conformance
from broken_masks import IgnoresTheMask
from good import Good

class Broken(Good):
    makes = IgnoresTheMask

ONLY = ["space", "mask_is_obeyed", "keep_all_is_no_mask"]

@conformance(Good, only=ONLY)
def test_good(check):
    check()

@conformance(Broken, only=ONLY)
def test_broken(check):
    check()

@conformance(Broken, only=ONLY, known={{"mask_is_obeyed": "masks come later"}})
def test_known(check):
    check()

@conformance(Good, only=ONLY, known={{"mask_is_obeyed": "masks come later"}})
def test_outdated(check):
    check()

@conformance("dense", only=["mask_is_obeyed"])
def test_dense(check):
    check()
"""


class Recorder:
    def __init__(self):
        self.outcomes = {}
        self.texts = {}

    def pytest_runtest_logreport(self, report):
        if report.when == "call":
            name = report.nodeid.partition("::")[2]
            self.outcomes[name] = "xfailed" if hasattr(report, "wasxfail") else report.outcome
            self.texts[name] = str(report.longrepr)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("author")
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_author.py").write_text(TESTS.format(here=os.path.dirname(__file__)))
    recorder = Recorder()
    pytest.main(
        ["-c", str(folder / "pytest.ini"), "-p", "no:cacheprovider", "-p", "no:terminal", str(folder)],
        plugins=[recorder],
    )
    return recorder


def test_ids_are_the_names_of_the_checks():
    assert [parameter.id for parameter in conformance(Good).args[1]] == list(all_checks())


def test_good_variant_passes(recorded):
    names = ("space", "keep_all_is_no_mask", "mask_is_obeyed")
    assert {recorded.outcomes[f"test_good[{name}]"] for name in names} == {"passed"}


def test_failure_shows_the_message_of_the_check(recorded):
    assert recorded.outcomes["test_broken[mask_is_obeyed]"] == "failed"
    assert "ignores the mask: with every expert masked" in recorded.texts["test_broken[mask_is_obeyed]"]
    assert recorded.outcomes["test_broken[space]"] == "passed"


def test_known_failure_is_expected_with_its_reason(recorded):
    assert recorded.outcomes["test_known[mask_is_obeyed]"] == "xfailed"


def test_known_failure_that_holds_after_all_fails(recorded):
    assert recorded.outcomes["test_outdated[mask_is_obeyed]"] == "failed"
    assert "masks come later" in recorded.texts["test_outdated[mask_is_obeyed]"]


def test_what_does_not_apply_is_skipped_with_its_reason(recorded):
    assert recorded.outcomes["test_dense[mask_is_obeyed]"] == "skipped"
    assert "it has no experts to mask" in recorded.texts["test_dense[mask_is_obeyed]"]


def test_misspelt_known_failure_is_refused():
    with pytest.raises(UnknownNameError, match="unknown check 'mask_is_obayed'; did you mean 'mask_is_obeyed'"):
        conformance(Good, known={"mask_is_obayed": "?"})
