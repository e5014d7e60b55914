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
from moebench.contract import Context, LayerShape
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


class Gives(nn.Module):
    """Gives what ``made(y, x)`` makes of its output."""

    def __init__(self, dim: int, hidden: int, made: Any) -> None:
        super().__init__()
        self.inner, self.made = TwoLinears(dim, hidden), made

    def forward(self, x: torch.Tensor) -> Any:
        return self.made(self.inner(x), x)


def layer_of(made: Any, **how: Any) -> Any:
    return wrap(lambda d, h: Gives(d, h, made), name="gives", **how).layer(SHAPE, 4, {})


@pytest.mark.parametrize(
    ("made", "how", "losses"),
    [
        (lambda y, x: (y, torch.randn(10, 4)), {}, {}),  # router logits
        (lambda y, x: [y, y.square().mean()], {"aux_weight": 0.1}, {"aux"}),
        (lambda y, x: (y, 0.5), {"aux_weight": 0.1}, {"aux"}),
        (lambda y, x: (y, y.square().mean().reshape(1)), {"aux_weight": 0.1}, {"aux"}),
        (lambda y, x: {"logits": y[..., :3], "out": y, "z": y.mean()}, {"aux_weight": {"z": 0.1}}, {"z"}),
        (lambda y, x: (y, None), {}, {}),
        (lambda y, x: (y, 1), {"aux_weight": 0.1}, {"aux"}),
        (lambda y, x: (y, 1), {}, {}),  # a count
        (lambda y, x: (y, 7, 0.5), {"aux_weight": 0.1}, {"aux"}),
        (lambda y, x: (y, y.mean(), y.std()), {"aux_weight": {"output_2": 0.1}}, {"output_2"}),
        (lambda y, x: (y, y.mean(), {"entropy": 0.5}), {"aux_weight": {}}, {}),
        (lambda y, x: (y, (y.mean(), torch.randn(10, 4))), {"aux_weight": 0.1}, {"aux"}),
        (lambda y, x: (y, {"z": y.mean(), "logits": torch.randn(10, 4)}), {"aux_weight": {"z": 0.1}}, {"z"}),
        (lambda y, x: y.flatten(0, 1), {}, {}),
        (lambda y, x: y if x.ndim == 2 else None, {"flat": True}, {}),
    ],
)
def test_outputs_of_any_kind_are_taken(made: Any, how: dict[str, Any], losses: set[str]) -> None:
    layer = layer_of(made, **how)
    x_BTD = torch.randn(5, 2, 8).transpose(0, 1)
    routing = layer.route(x_BTD, Context())
    assert set(routing.losses) == set(losses)
    assert all(loss.ndim == 0 for loss in routing.losses.values())
    torch.testing.assert_close(layer.compute(x_BTD, routing), layer.module.inner(x_BTD))


def test_a_loss_that_a_module_sets_as_an_attribute_is_read_and_not_kept() -> None:
    def sets(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        layer.module.inner.l_aux = y.square().mean()
        return y

    layer = layer_of(sets, aux_weight={"l_aux": 0.1})
    assert layer.route(torch.randn(2, 5, 8), Context()).losses["l_aux"].requires_grad
    assert layer.module.inner.l_aux is None


@pytest.mark.parametrize(
    ("made", "how", "says"),
    [
        (lambda y, x: y[..., :3], {}, "its forward gave (2, 5, 3) for an input of (2, 5, 8)"),
        (lambda y, x: None, {}, "a NoneType without tensors"),
        (lambda y, x: (y, y.mean()), {}, "give its weight, wrap(..., aux_weight=0.01)"),
        (lambda y, x: y, {"aux_weight": 0.1}, "its forward returned no loss"),
        (lambda y, x: y, {"aux_weight": {"z": 0.1}}, "a weight for the loss 'z'"),
        (
            lambda y, x: (y, torch.randn(2, 5, 4)),
            {"aux_weight": 0.1},
            "but output_0, a float32 tensor of shape (2, 5, 8) and output_1, a float32 tensor of shape (2, 5, 4);",
        ),
        (
            lambda y, x: (y, y.mean(), y.std()),
            {"aux_weight": 0.01},
            "it has aux_weight=0.01, and its forward returned 2 numbers (output_1, a float32 tensor of shape () and "
            "output_2, a float32 tensor of shape ()); give the weights of those that are losses by "
            "name, wrap(..., aux_weight={'output_1': 0.01, 'output_2': 0.01}), or {} if none is",
        ),
        (lambda y, x: {"y": y, "a": y.mean(), "z": 0.5}, {}, "aux_weight={'a': 0.01, 'z': 0.01})"),
        (lambda y, x: (y, (y.mean(), torch.randn(4))), {}, "one number (output_1_0, a float32 tensor of shape ())"),
    ],
)
def test_what_cannot_be_taken_is_a_sentence_that_says_what_came(made: Any, how: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        layer_of(made, **how).train().route(torch.randn(2, 5, 8), Context())


def test_experts_in_a_list_are_said_to_need_stacking() -> None:
    def made(dim: int, hidden: int) -> nn.Module:
        return nn.ModuleDict({"gate": nn.Linear(dim, 2), "experts": nn.ModuleList([nn.Linear(dim, dim)] * 2)})

    with pytest.raises(ValueError, match="experts in a list must be stacked into one parameter for each weight"):
        wrap(made, name="m", experts=["experts"], gates="gate", top_k=1).layer(SHAPE, 4, {})


@pytest.mark.parametrize("scores", [True, False])
def test_whether_gates_give_scores_or_logits_is_read_from_the_first_that_are_not_zero(scores: bool) -> None:
    """Gates that begin at 0 give nothing to tell it by."""

    class Gated(nn.Module):
        def __init__(self, dim: int, hidden: int) -> None:
            super().__init__()
            self.gate, self.w = nn.Linear(dim, 4), nn.Parameter(torch.ones(4, dim, hidden))
            self.gates = nn.Identity()
            nn.init.zeros_(self.gate.weight)
            nn.init.zeros_(self.gate.bias)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits = self.gate(x)
            kept = torch.zeros_like(logits).scatter(-1, logits.topk(2).indices, 1.0)
            return x * self.gates(logits * kept if scores else logits).sum(-1, keepdim=True)

    layer: Any = wrap(Gated, name="gated", experts=["w"], gates="gates", top_k=2).layer(SHAPE, 4, {})
    x_BTD = torch.randn(2, 5, 8)
    layer.route(x_BTD, Context())
    nn.init.normal_(layer.module.gate.weight)
    for _ in range(2):
        weight = layer.route(x_BTD, Context()).weight_BTK
        assert torch.allclose(weight.sum(-1), torch.ones(2, 5)) == (not scores)


class GivesTwo(nn.Module):
    """Gates that give logits, and beside them the scores that act."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.gates, self.w = Both(dim), nn.Parameter(torch.ones(4, dim, hidden))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gates(x)[1].sum(-1, keepdim=True)


class Both(nn.Linear):
    def __init__(self, dim: int) -> None:
        super().__init__(dim, 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = super().forward(x)
        kept = torch.zeros_like(logits).scatter(-1, logits.topk(2).indices, 1.0)
        return logits, logits.sigmoid() * kept


@pytest.mark.parametrize("training", [True, False])
def test_of_logits_and_scores_the_scores_are_taken(training: bool) -> None:
    layer: Any = wrap(GivesTwo, name="two", experts=["w"], gates="gates", top_k=2).layer(SHAPE, 4, {}).train(training)
    x_BTD = torch.randn(2, 5, 8)
    for _ in range(2):
        wanted = layer.module.gates(x_BTD)[1].topk(2).values
        torch.testing.assert_close(layer.route(x_BTD, Context()).weight_BTK, wanted)


def test_choices_of_32_bits_are_counted() -> None:
    def gates(module: Any, x_BTD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        weight, chosen = module.gates(x_BTD)[1].topk(2)
        return chosen.int(), weight

    seen: list[torch.Tensor] = []
    variant = wrap(
        GivesTwo, name="two", experts=["w"], gates=gates, top_k=2, after_step=lambda module, load_E: seen.append(load_E)
    )
    layer: Any = variant.layer(SHAPE, 4, {}).train()
    layer.route(torch.randn(2, 5, 8), Context())
    layer.after_step()
    assert int(seen[0].sum()) == 2 * 5 * 2
