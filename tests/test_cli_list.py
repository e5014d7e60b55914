"""``moebench list``: every kind of thing can be asked for by name."""

import pytest
from click.testing import CliRunner

from moebench.cli.list import KINDS
from moebench.cli.main import cli


def test_all_that_may_be_asked_for_is_listed_in_one_order():
    parts = [CliRunner().invoke(cli, ["list", kind], catch_exceptions=False).output for kind in KINDS]
    assert [part.partition("\n")[0].strip() for part in parts] == KINDS
    assert CliRunner().invoke(cli, ["list"]).output == "".join(parts)


@pytest.mark.parametrize("options", [(), ("--load",)])
def test_compressors_are_listed_with_what_they_are(options):
    said = CliRunner().invoke(cli, ["list", "compressors", *options]).output
    for name in ("keep_all", "merge", "merge_compress", "prune_reap", "prune_usage", "prune_random"):
        assert name in said
    assert "M-SMoE" in said
    assert "not usable" not in said


def test_a_name_has_one_line_and_is_whole_and_verbose_says_all():
    short = CliRunner().invoke(cli, ["list", "variants"]).output.splitlines()
    assert all(len(line) <= 100 for line in short)
    from moebench.plugins.find import VARIANTS

    assert [line.split()[0] for line in short[2:]] == list(VARIANTS.installed())
    whole = CliRunner().invoke(cli, ["list", "variants", "--verbose"]).output
    assert "…" in "".join(short)
    assert "…" not in whole
