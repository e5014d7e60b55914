"""The examples run, and the layer from nothing is the same code wherever it stands."""

import copy
import json
import re
import runpy
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hand_made import DIGITS, digits, model_of, recipe, train
from moebench import check
from moebench.budgets import count_layer
from moebench.contract import Context, LayerShape
from moebench.measures.scores.specialization import specialization
from moebench.measures.subset.scores import mean_mass
from moebench.plugins.find import find_variant
from moebench.plugins.load import load_variant
from moebench.plugins.new import write_package
from moebench.training.evaluate import evaluate_task
from tiny import run_tiny, write_suite

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
BLOCKS = {
    name: f"{EXAMPLES}/wrapped_transformers.py:{name}"
    for name in ("mixtral", "qwen3", "olmoe", "deepseek_v3", "gpt_oss", "llama4")
}
SHARED, ONE_LAYER = ("deepseek_v3", "llama4"), {"name": "vit", "dim": 16, "depth": 1, "heads": 2, "patch": 4}
NOTHING, MIXTRAL = f"{EXAMPLES}/from_nothing.py:FromNothing", f"{EXAMPLES}/wrapped_mixtral.py:mixtral"


@pytest.mark.parametrize("spec", [NOTHING, MIXTRAL, *BLOCKS.values()])
def test_a_layer_holds_to_the_contract(spec):
    (report,) = check(spec)
    assert [(row.name, row.message) for row in report.failures] == []


def test_a_layer_from_nothing_is_at_most_30_lines_and_what_moebench_new_writes(tmp_path):
    text = (EXAMPLES / "from_nothing.py").read_text()
    assert len(text.splitlines()) <= 30
    write_package("from_nothing", tmp_path / "new")
    assert (tmp_path / "new" / "src" / "from_nothing" / "layer.py").read_text() == text


def test_the_readme_has_the_same_code():
    block = re.search(r"```python\n# from_nothing\.py\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    if block is None:
        pytest.skip("README.md shows no block that starts with '# from_nothing.py'")
    assert block[1] == (EXAMPLES / "from_nothing.py").read_text()


@pytest.mark.parametrize("spec", [NOTHING, MIXTRAL])
def test_it_runs_in_a_suite_and_its_specialization_is_measured(tmp_path, spec):
    session = run_tiny(write_suite(tmp_path, steps=60), tmp_path / "results", variants=(spec,), trials=1)
    (entry,) = (entry for entry in session.board.entries if entry.variant in ("from_nothing", "mixtral"))
    assert entry.rank is not None
    assert entry.selection_gain is not None
    assert entry.experts_gain is not None
    assert entry.counts.active_params < entry.counts.total_params


def test_each_block_of_transformers_comes_in_at_most_12_lines():
    text = (EXAMPLES / "wrapped_transformers.py").read_text()
    blocks = {m[1]: m[0].count("\n") for m in re.finditer(r"^(\w+) = wrap\(.*?^\)\n", text, re.MULTILINE | re.DOTALL)}
    assert {*BLOCKS} == set(blocks)
    assert max(blocks.values()) <= 12


@pytest.mark.parametrize("name", BLOCKS)
def test_the_gates_of_a_block_of_transformers_are_seen_and_its_idle_experts_are_not_active(name):
    layer = load_variant(find_variant(BLOCKS[name])).layer(SHAPE, 6, {})
    routing = layer.route(torch.randn(3, 5, 8), Context())
    counts = count_layer(layer)
    assert counts.active < counts.total
    assert routing.chosen_BTK.shape == routing.weight_BTK.shape == (3, 5, layer.top_k)
    assert routing.mass_BE.shape == (3, layer.num_experts)


@pytest.mark.parametrize("name", BLOCKS)
def test_the_specialization_of_a_block_of_transformers_is_measured(name):
    """Those with a shared expert learn the digits without the others, and have a selection gain alone."""
    model = model_of(BLOCKS[name], budget=160_000, host=ONE_LAYER)
    train(model, digits("train"), recipe(steps=40, batch=32, lr=1e-2))
    few = digits("test", 32)
    whole = evaluate_task(model, DIGITS, few)
    found = specialization(model, DIGITS, few, whole, mean_mass(whole))
    assert found.scores["accuracy_all_experts"] > 0.5
    assert "selection_gain" in found.scores
    assert found.value is not None or name in SHARED, found.reason


def test_the_bias_of_deepseek_follows_the_load_after_a_step():
    layer = load_variant(find_variant(BLOCKS["deepseek_v3"])).layer(SHAPE, 6, {}).train()
    load_E = layer.route(torch.randn(3, 5, 8), Context()).load_BE.sum(0)
    layer.after_step()
    bias_E = layer.module.gate.e_score_correction_bias
    assert torch.equal(bias_E.sign(), (load_E.float().mean() - load_E).sign())
    assert not layer.load_E.any()


SHAPE = LayerShape(dim=8, out_dim=8, tokens=5)
ROUTERS = {
    "indices and weights": "gate",
    "a callable": lambda module, x_BTD: [each.view(*x_BTD.shape[:2], -1) for each in reversed(module.gate(x_BTD)[1:])],
}


@pytest.mark.parametrize("gates", ROUTERS.values(), ids=ROUTERS)
def test_the_gates_and_masks_of_a_wrapped_block_are_those_of_a_loop(gates):
    variant = copy.copy(load_variant(find_variant(MIXTRAL)))
    variant.gates = gates
    layer = variant.layer(SHAPE, 6, {}).double()
    x_BTD = torch.randn(4, 5, 8, dtype=torch.float64)
    keep_BE = torch.tensor([[True] * 8, [False] * 8, [True, False] * 4, [False] * 7 + [True]])
    routing = layer.route(x_BTD, Context())
    mass_BE = torch.zeros(4, 8, dtype=torch.float64)
    want_BTO, masked_BTO = torch.zeros(2, 4, 5, 8, dtype=torch.float64).unbind()
    experts = layer.module.experts
    for b in range(4):
        for t in range(5):
            chance_E = (layer.module.gate.weight @ x_BTD[b, t]).float().softmax(-1)
            best = chance_E.topk(2).indices.tolist()
            for e in best:
                weight = (chance_E[e] / sum(chance_E[i] for i in best)).detach()
                gate_H, up_H = (experts.gate_up_proj[e] @ x_BTD[b, t]).chunk(2)
                answer_O = (weight * (experts.down_proj[e] @ (F.silu(gate_H) * up_H))).detach()
                mass_BE[b, e] += weight
                want_BTO[b, t] += answer_O
                masked_BTO[b, t] += answer_O * keep_BE[b, e]
    torch.testing.assert_close(routing.mass_BE, mass_BE, check_dtype=False, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(layer.compute(x_BTD, routing), want_BTO, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(layer.compute(x_BTD, routing, keep_BE), masked_BTO, rtol=1e-6, atol=1e-6)
    assert (layer.num_experts, layer.top_k) == (8, 2)


class Switch(nn.Module):
    """One expert a token, chosen by the logits of a linear layer; its experts are along the last axis."""

    def __init__(self, dim, hidden):
        super().__init__()
        self.router = nn.Linear(dim, 4, bias=False)
        self.w_in, self.w_out = nn.Parameter(torch.randn(dim, hidden, 4)), nn.Parameter(torch.randn(hidden, dim, 4))

    def forward(self, x):
        best = self.router(x).argmax(-1)
        hidden = torch.einsum("btd,dhe->bteh", x, self.w_in).relu()
        every = torch.einsum("bteh,hde->bted", hidden, self.w_out)
        return every.gather(2, best[..., None, None].expand(*best.shape, 1, x.shape[-1])).squeeze(2)


def test_the_logits_of_gates_are_read_too():
    from moebench import wrap

    variant = wrap(Switch, experts=["w_in", "w_out"], expert_axis=2, top_k=1, gates="router")
    layer, x_BTD = variant.layer(SHAPE, 3, {}), torch.randn(2, 5, 8)
    routing = layer.route(x_BTD, Context())
    assert torch.equal(routing.chosen_BTK[..., 0], layer.module.router(x_BTD).argmax(-1))
    assert torch.equal(routing.weight_BTK, torch.ones(2, 5, 1))
    nobody = layer.compute(x_BTD, routing, torch.zeros(2, 4, dtype=torch.bool))
    assert not nobody.any()
    assert layer.expert_parameters() == {"module.w_in": 2, "module.w_out": 2}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"gates": "router"}, "switch: experts, top_k and gates come together, or none of them"),
        ({"experts": "w_in", "top_k": 1, "gates": "router"}, "switch: experts must be a list of names of parameters"),
        ({"experts": ["w"], "top_k": 1, "gates": "router"}, "switch: it has no parameter 'w'; it has: w_in, w_out"),
        ({"experts": ["w_in"], "top_k": 1, "gates": "gate"}, "switch: it has no submodule 'gate' that could be its"),
        (
            {"experts": ["w_in"], "top_k": 1, "gates": "router"},
            "switch: its gates 'router' gave neither indices and weights of one shape nor logits of 8 experts, once",
        ),
    ],
)
def test_gates_that_cannot_be_seen_are_one_sentence(given, sentence):
    from moebench import wrap

    with pytest.raises(ValueError, match=re.escape(sentence)):
        wrap(Switch, **given).layer(SHAPE, 3, {}).route(torch.randn(2, 5, 8), Context())


def test_examples_say_in_their_first_lines_how_they_are_run():
    for path in EXAMPLES.glob("*.py"):
        assert runpy.run_path(str(path))["__doc__"]


def test_the_notebook_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    write_suite(tmp_path, steps=5)
    names = {}
    cells = json.loads((EXAMPLES / "compare_layers.ipynb").read_text())["cells"]
    for cell in cells:
        if cell["cell_type"] == "code":
            # The same calls on a smaller suite.
            exec("".join(cell["source"]).replace('"quick"', '"tiny.toml"').replace("trials=2", "trials=1"), names)
    assert [entry.variant for entry in names["board"].entries if entry.rank]
    assert not names["report"].failures
