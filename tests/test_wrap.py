"""Any module as a variant."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from moebench import check, load_board, run, wrap
from moebench.contract import LayerShape
from moebench.errors import MoebenchError
from tiny import write_suite

SHAPE = LayerShape(dim=8, out_dim=8, tokens=5)


class TwoLinears(nn.Module):
    def __init__(self, dim: int, hidden: int, aux: bool = False) -> None:
        super().__init__()
        self.a, self.b, self.aux = nn.Linear(dim, hidden), nn.Linear(hidden, dim), aux

    def forward(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        y = self.b(self.a(x).relu())
        return (y, y.pow(2).mean()) if self.aux else y


def test_a_wrapped_module_conforms() -> None:
    for variant in (wrap(TwoLinears), wrap(lambda d, h: TwoLinears(d, h, aux=True), name="with_aux", aux_weight=0.1)):
        (report,) = check(variant)
        assert report.holds, [(row.name, row.message) for row in report.failures]


def test_its_name_is_the_class_in_snake_case() -> None:
    assert wrap(TwoLinears).name == "two_linears"
    assert wrap(lambda d, h: TwoLinears(d, h)).name == "wrapped"


def test_an_auxiliary_loss_needs_a_weight() -> None:
    layer = wrap(lambda d, h: TwoLinears(d, h, aux=True)).layer(SHAPE, 4, {})
    with pytest.raises(ValueError, match="aux_weight"):
        layer(torch.randn(2, 5, 8))


def test_it_is_trained_and_ranked_from_python_and_has_no_specialization(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, steps=2)
    mine = wrap(lambda dim, hidden: TwoLinears(dim, hidden), name="mine")
    board = run(suite, [mine], trials=1, seeds=2, results=tmp_path / "r", mlflow=False, quiet=True)
    entries = {entry.variant: entry for entry in board.entries}
    assert entries["mine"].rank is not None
    assert entries["mine"].specialization is None
    assert entries["mine"].specialization_reason
    assert entries["soft_moe"].rank is None  # not run: only what was named, and dense
    again = load_board(suite, results=tmp_path / "r")
    assert [entry.variant for entry in again.entries if entry.rank] == ["dense"]
    assert json.loads((tmp_path / "r" / "tiny" / "latest.json").read_text())["extras"] == []


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"seeds": "3"}, "seeds must be a whole number of at least 1, not '3'."),
        ({"trials": 0}, "trials must be a whole number of at least 1, not 0."),
        ({"workers": 0}, "workers must be a whole number of at least 1, not 0."),
        ({"micro_batch": True}, "micro_batch must be a whole number of at least 1, not True."),
        ({"variants": "mien"}, "unknown variant 'mien'"),
    ],
)
def test_wrong_numbers_and_names_are_sentences_before_anything_runs(
    tmp_path: Path, wrong: dict[str, Any], says: str
) -> None:
    with pytest.raises(MoebenchError, match=re.escape(says)):
        run("quick", results=tmp_path / "results", **wrong)
    assert not (tmp_path / "results" / "records").exists() or not list((tmp_path / "results" / "records").iterdir())
