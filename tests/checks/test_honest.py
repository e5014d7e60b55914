"""What keeps its promises passes: a plain variant, unusual ones, and all that are installed."""

from __future__ import annotations

import pytest
from good import Good
from honest import HONEST

from moebench.checks import run_checks
from moebench.plugins.find import find_variants


@pytest.mark.parametrize("variant", [Good, *HONEST], ids=lambda variant: variant.name)
def test_honest_variant_passes_every_check(variant):
    report = run_checks(variant)
    assert [(row.name, row.message) for row in report.failures] == []


@pytest.mark.parametrize("name", sorted(find_variants()))
def test_installed_variant_passes_every_check(name):
    report = run_checks(name)
    assert report.problem == ""
    assert [(row.name, row.message) for row in report.failures] == []
