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
