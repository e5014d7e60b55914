"""What determines results has its digits, and they change only together with a revision or the protocol: golden.py."""

import json
import re
from pathlib import Path

import pytest

import golden
from moebench.plugins.find import COMPRESSORS, HOSTS, find_variants
from moebench.plugins.identity import code_identity

PUBLISHED = Path(__file__).parent.parent / "results" / "published"


def test_the_file_has_every_entry_and_no_other():
    assert sorted(golden.read()) == sorted(golden.names())


@pytest.mark.parametrize("name", golden.names())
def test_the_digits_belong_to_the_key(name):
    stored, now = golden.read()[name], golden.present(name)
    assert stored["key"] == now["key"], f"golden.json has {name} under another key: run tests/support/golden.py."
    differ = golden.disagreement(stored["digits"], now["digits"])
    assert not differ, f"{name} gives other digits ({differ}): {golden.ADVICE}."


STORED = {"key": "1", "digits": [2.30259, 1.5]}


@pytest.mark.parametrize(
    "now",
    [
        {"key": "1", "digits": [2.30259, 1.5]},
        {"key": "1", "digits": [2.30261, 1.50001]},
        {"key": "2", "digits": [2.30259, 1.501]},
    ],
)
def test_an_entry_may_be_rewritten(now):
    assert golden.refusal(STORED, now) == ""
    assert golden.refusal(None, now) == ""


@pytest.mark.parametrize("digits", [[2.30259, 1.501], [2.30259], [float("nan"), 1.5]])
def test_other_digits_under_the_same_key_are_refused(digits):
    assert "under the same key" in golden.refusal(STORED, {"key": "1", "digits": digits})


def test_every_built_in_plug_in_declares_a_revision_of_its_own():
    for found in (*find_variants().values(), *COMPRESSORS.installed().values()):
        if found.package == "moebench":
            source = found.source.read_text()
            body = source.partition(f"class {found.attribute}")[2]
            declared = re.search(r'^    revision = "(\w+)"$', body, re.MULTILINE)
            assert declared, f"{found.name} declares no revision"
            assert code_identity(found) == declared[1]


def test_every_host_that_is_trained_has_digits():
    used = {run["host"]["name"] for run in golden.RUNS.values()}
    assert {*HOSTS.installed()} - used == {"bare"}, "which has no head"


def test_published_records_are_of_revisions_that_are_known():
    """Of earlier ones docs/records.md says what agrees with what. A latency session has none of its own."""
    known = {code_identity(found) for found in find_variants().values()}
    told = set(re.findall(r"`([0-9a-f]{20})`", (PUBLISHED.parent.parent / "docs" / "records.md").read_text()))
    used = set()
    for pack in PUBLISHED.rglob("*.jsonl"):
        for line in map(json.loads, pack.read_text().splitlines()[1:]):
            used.add(line.get("record", line)["cell"]["code_digest"])
    assert used - known - told - {""} == set()
    assert not told & known
