"""DeepSeekMoE: shared experts, sigmoid weights, and a bias that balances without touching the weights."""

import pytest
import torch

from moebench.budgets.count import active_parameters
from moebench.contract import Context, LayerShape
from moevariants.deepseek import DeepSeek
from moevariants.parts.gates import SigmoidGate


def build(size=5, dim=4, out_dim=3, **settings):
    torch.manual_seed(0)
    shape = LayerShape(dim=dim, out_dim=out_dim, tokens=None)
    return DeepSeek().layer(shape, size, {"experts": 6, "top_k": 2, **settings}).double()


def mlp(bank, e, z_D):
    return bank.activate(z_D @ bank.w_in_EDH[e] + bank.b_in_EH[e]) @ bank.w_out_EHO[e] + bank.b_out_EO[e]


def reference(layer, x_TD, top_k):
    """y_TO of one input, token by token."""
    s_TE = torch.sigmoid(x_TD @ layer.router.weight_DE)
    rows = []
    for x_D, s_E in zip(x_TD, s_TE, strict=True):
        chosen = sorted(range(len(s_E)), key=lambda e: -(s_E[e] + layer.gate.bias_E[e]).item())[:top_k]
        total = sum(s_E[e] for e in chosen)
        routed = sum(s_E[e] / total * mlp(layer.experts, e, x_D) for e in chosen)
        rows.append(routed + mlp(layer.shared, 0, x_D))
    return torch.stack(rows)


@pytest.mark.parametrize("bias", [0.0, 0.3])
def test_layer_is_the_equation_in_value_and_gradient(bias):
    layer = build(shared=2)
    layer.gate.bias_E.uniform_(-bias, bias)
    x_BTD = torch.randn(3, 7, 4, dtype=torch.float64, requires_grad=True)
    y_BTO, expected_BTO = layer(x_BTD), torch.stack([reference(layer, x_TD, 2) for x_TD in x_BTD])
    torch.testing.assert_close(y_BTO, expected_BTO)
    probe_BTO, wanted = torch.randn_like(y_BTO), [x_BTD, *layer.parameters()]
    torch.testing.assert_close(
        torch.autograd.grad((y_BTO * probe_BTO).sum(), wanted),
        torch.autograd.grad((expected_BTO * probe_BTO).sum(), wanted),
    )


def test_shared_experts_are_one_of_their_width_and_active_for_all():
    layer = build(size=5, shared=3)
    assert layer.shared.w_in_EDH.shape == (1, 4, 15)
    each = 4 * 5 + 5 + 5 * 3 + 3
    assert active_parameters(layer) == 4 * 6 + 2 * each + (4 * 15 + 15 + 15 * 3 + 3)
    assert not any("shared" in name for name in layer.expert_parameters())


def test_the_bias_changes_the_choice_and_never_the_weights():
    gate = SigmoidGate(3, 2, rate=0.1)
    logits_BTE = torch.tensor([[[2.0, 1.0, 0.0]]])
    s = logits_BTE.sigmoid()[0, 0].tolist()
    before = gate(logits_BTE)
    gate.bias_E.copy_(torch.tensor([-1.0, 0.0, 0.5]))
    after = gate(logits_BTE)
    assert before.chosen_BTK.tolist() == [[[0, 1]]]
    assert after.chosen_BTK.tolist() == [[[2, 1]]]
    assert before.weight_BTK[0, 0].tolist() == pytest.approx([s[0] / (s[0] + s[1]), s[1] / (s[0] + s[1])])
    assert after.weight_BTK[0, 0].tolist() == pytest.approx([s[2] / (s[1] + s[2]), s[1] / (s[1] + s[2])])


def test_a_hot_expert_loses_the_rate_before_the_biases_are_centred():
    gate = SigmoidGate(4, 2, rate=0.1)
    # Eight choices in two batches: expert 0 four, 1 three, 2 one, 3 none; the mean is 2.
    for logits in ([[3.0, 2, 0, -1], [3.0, 2, 0, -1]], [[3.0, 2, 0, -1], [3.0, 0, 2, -1]]):
        gate(torch.tensor([logits]))
    assert gate.counts_E.tolist() == [4, 3, 1, 0]
    gate.after_step()
    # -0.1, -0.1, +0.1, +0.1: centred as they are.
    assert gate.bias_E.tolist() == pytest.approx([-0.1, -0.1, 0.1, 0.1])
    assert gate.counts_E.tolist() == [0, 0, 0, 0]
    gate(torch.tensor([[[9.0, 8, 0, 0]] * 2]))  # 2, 2, 0, 0 chosen
    gate.counts_E[0] = 9  # the mean is now 2.75: only expert 0 is above it
    gate.after_step()
    # -0.2, 0, 0.2, 0.2 have the mean 0.05.
    assert gate.bias_E.tolist() == pytest.approx([-0.25, -0.05, 0.15, 0.15])


def test_an_exact_load_moves_nothing():
    gate = SigmoidGate(4, 2, rate=0.1)
    gate(torch.tensor([[[3.0, 2, 0, 0], [0.0, 0, 2, 3]]]))
    gate.after_step()
    assert not gate.bias_E.any()


def test_only_real_tokens_in_training_are_counted():
    layer = build()
    x_BTD = torch.randn(2, 5, 4, dtype=torch.float64)
    layer.eval().route(x_BTD, Context())
    assert not layer.gate.counts_E.any()
    layer.train().route(x_BTD, Context(torch.arange(5) < torch.tensor([[5], [2]])))
    assert layer.gate.counts_E.sum() == 7 * 2


def test_balance_comes_without_a_loss():
    layer = build(bias_rate=0.05).float()
    x_BTD = torch.randn(8, 32, 4) + 1  # off centre, so that some experts are liked by all

    def uneven():
        counts = torch.bincount(layer.route(x_BTD, Context()).chosen_BTK.flatten(), minlength=6).float()
        return float(counts.max() / counts.mean()) - 1

    before = uneven()
    for _ in range(60):
        layer.gate.counts_E.zero_()
        assert layer.route(x_BTD, Context()).losses == {}
        layer.after_step()
    assert before > 0.5
    assert uneven() < before / 3


def test_one_choice_is_refused_because_it_would_not_learn():
    with pytest.raises(ValueError, match="deepseek: top_k must be 2 or more"):
        build(top_k=1)
    with pytest.raises(ValueError, match="needs top_k of at least 2 to learn, not 1"):
        SigmoidGate(4, 1, 0.1)
    assert build(experts=1, top_k=1)(torch.randn(1, 2, 4, dtype=torch.float64)).shape == (1, 2, 3)
