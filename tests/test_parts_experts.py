"""Every backend against the loop, and the bank of experts itself."""

import copy
import pickle

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from moebench.contract import LayerShape
from moebench.contract.shape import ACTIVATIONS
from moevariants.backends import auto, grouped, loop, onednn, padded
from moevariants.parts import Experts
from moevariants.parts.activations import activation
from moevariants.parts.backend import find_backend

# Rows per expert: uneven, with empty experts first, in the middle and last; one hot expert; none at all.
COUNTS = [(0, 3, 0, 7, 1, 0), (11, 0, 0, 0, 0, 0), (0, 0, 0, 0, 0, 0), (2, 2, 2, 2, 2, 2)]
BACKENDS = [grouped.run, auto.run, padded.run, onednn.run]
NAMES = ["grouped", "auto", "padded", "onednn"]


def bank(bias=True, activation="gelu", sizes=(6, 5, 7, 3), dtype=torch.float32):
    torch.manual_seed(0)
    num_experts, dim, hidden, out_dim = sizes
    shape = LayerShape(dim=dim, out_dim=out_dim, tokens=None, bias=bias, activation=activation)
    return Experts(num_experts, shape, hidden).to(dtype)


def by_hand(experts, rows_ND, counts):
    """One row at a time, straight from act(x W_in + b_in) W_out + b_out."""
    expert_of_row = [e for e, count in enumerate(counts) for _ in range(count)]
    outputs = []
    for row_D, e in zip(rows_ND, expert_of_row, strict=True):
        hidden_H = row_D @ experts.w_in_EDH[e]
        hidden_H = experts.activate(hidden_H if experts.b_in_EH is None else hidden_H + experts.b_in_EH[e])
        out_O = hidden_H @ experts.w_out_EHO[e]
        outputs.append(out_O if experts.b_out_EO is None else out_O + experts.b_out_EO[e])
    return torch.stack(outputs) if outputs else rows_ND.new_zeros(0, experts.w_out_EHO.shape[2])


def gradients(run, experts, counts, weigh):
    """Output and every gradient of a sum of the outputs, weighed or plain; the plain one's has stride 0."""
    torch.manual_seed(1)
    rows_ND = torch.randn(sum(counts), experts.w_in_EDH.shape[1], dtype=experts.w_in_EDH.dtype).requires_grad_()
    rows_NO = run(experts, rows_ND, torch.tensor(counts))
    loss = (rows_NO * torch.randn_like(rows_NO)).sum() if weigh else rows_NO.sum()
    wanted = (rows_ND, *experts.parameters())
    grads = torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True)
    return [rows_NO.detach(), *grads]


@pytest.mark.parametrize("weigh", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("counts", COUNTS)
def test_loop_is_the_equation_in_float64(counts, bias, weigh):
    experts = bank(bias, dtype=torch.float64)
    oracle = gradients(lambda e, rows, c: by_hand(e, rows, c.tolist()), experts, counts, weigh) if any(counts) else None
    got = gradients(loop.run, experts, counts, weigh)
    if oracle is None:
        assert all(not g.any() for g in got)
    else:
        for mine, expected in zip(got, oracle, strict=True):
            torch.testing.assert_close(mine, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("weigh", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("run", BACKENDS, ids=NAMES)
def test_backend_equals_loop_in_value_and_every_gradient(run, counts, bias, weigh, dtype):
    experts = bank(bias, dtype=dtype)
    for mine, oracle in zip(
        gradients(run, experts, counts, weigh), gradients(loop.run, experts, counts, weigh), strict=True
    ):
        torch.testing.assert_close(mine, oracle, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("weigh", [True, False])
@pytest.mark.parametrize("sizes", [(8, 1, 1, 1), (9, 4, 8, 12), (8, 13, 127, 6)])
def test_backend_takes_any_width_and_any_gradient(sizes, weigh, activation):
    experts = bank(activation=activation, sizes=sizes)
    counts = tuple(range(sizes[0]))
    for mine, oracle in zip(
        gradients(grouped.run, experts, counts, weigh), gradients(loop.run, experts, counts, weigh), strict=True
    ):
        torch.testing.assert_close(mine, oracle, rtol=1e-4, atol=1e-5)


def test_grouped_really_runs_here():
    """The comparisons above would be empty if everything fell back to the loop."""
    assert grouped.available() is None
    assert grouped.why_not("cpu", torch.bfloat16) is None
    assert "grouped_mm refuses torch.float64 on cpu" in grouped.why_not("cpu", torch.float64)


@pytest.mark.parametrize("run", [loop.run, *BACKENDS], ids=["loop", *NAMES])
@pytest.mark.parametrize("most", [None, 4, 99])
def test_rows_of_nobody_do_not_disturb_the_others(run, most):
    experts = bank(sizes=(6, 5, 7, 3))
    counts_E = torch.tensor([0, 3, 0, 4, 1, 0])
    rows_ND = torch.randn(8 + 3, 5)
    rows_ND[8:] = 1e30
    short_ND, long_ND = rows_ND[:8].clone().requires_grad_(), rows_ND.clone().requires_grad_()
    wanted, got = loop.run(experts, short_ND, counts_E), run(experts, long_ND, counts_E, most)
    probe_NO = torch.randn_like(wanted)
    # As combine_rows does: what is there for nobody gets a gradient of 0.
    loss = (got.masked_fill(torch.arange(11).unsqueeze(1) >= 8, 0.0)[:8] * probe_NO).sum()
    torch.testing.assert_close(got[:8], wanted)
    mine = torch.autograd.grad(loss, (long_ND, *experts.parameters()))
    theirs = torch.autograd.grad((wanted * probe_NO).sum(), (short_ND, *experts.parameters()))
    torch.testing.assert_close(mine[0][:8], theirs[0])
    for one, other in zip(mine[1:], theirs[1:], strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("capability", "dtype", "why"),
    [
        *(
            (found, torch.bfloat16, f"grouped_mm is fast on compute capability 9.x and 10.x alone; this GPU has {has}")
            for found, has in (((8, 0), "8.0"), ((8, 9), "8.9"), ((11, 0), "11.0"), ((12, 1), "12.1"))
        ),
        ((10, 0), torch.float32, "grouped_mm is fast on CUDA in bfloat16 alone, not in torch.float32"),
        ((9, 0), torch.float32, "grouped_mm is fast on CUDA in bfloat16 alone, not in torch.float32"),
    ],
)
def test_on_cuda_the_grouped_product_is_used_where_it_is_fast(monkeypatch, capability, dtype, why):
    """Elsewhere torch waits for the offsets and multiplies expert by expert."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert grouped.why_not.__wrapped__("cuda", dtype) == why


@pytest.mark.parametrize("major", [9, 10])
def test_on_cuda_the_grouped_product_is_tried_where_torch_has_a_fast_one(monkeypatch, major):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (major, 0))
    assert grouped._slow(torch.bfloat16) is None


def test_without_the_function_grouped_gives_its_reason_and_the_loop_works(monkeypatch):
    monkeypatch.delattr(torch.nn.functional, "grouped_mm")
    grouped.why_not.cache_clear()
    find_backend.cache_clear()
    try:
        assert "has no torch.nn.functional.grouped_mm" in grouped.available()
        with pytest.raises(ValueError, match=r"backend 'grouped' does not work here: torch .* has no"):
            find_backend("grouped")
        experts = bank(sizes=(8, 5, 7, 3))
        rows_ND, counts_E = torch.randn(8, 5), torch.ones(8, dtype=torch.long)
        for run in (grouped.run, auto.run):
            assert torch.equal(run(experts, rows_ND, counts_E), loop.run(experts, rows_ND, counts_E))
    finally:
        grouped.why_not.cache_clear()
        find_backend.cache_clear()


@pytest.mark.parametrize("run", [loop.run, grouped.run], ids=["loop", "grouped"])
def test_autocast_computes_in_bfloat16_and_keeps_gradients_in_float32(run):
    experts = bank(sizes=(3, 6, 10, 5))
    rows_ND, counts_E = torch.randn(700, 6), torch.tensor([600, 0, 100])
    exact_NO = loop.run(experts, rows_ND, counts_E)
    exact = torch.autograd.grad(exact_NO.sum(), list(experts.parameters()))
    with torch.autocast("cpu", torch.bfloat16):
        rows_NO = run(experts, rows_ND, counts_E)
    assert rows_NO.dtype == torch.bfloat16
    torch.testing.assert_close(rows_NO.float(), exact_NO, rtol=0.05, atol=0.05)
    # 600 ones added up in bfloat16 would stop at 256: sums of gradients need float32 inside.
    for mine, oracle in zip(torch.autograd.grad(rows_NO.float().sum(), list(experts.parameters())), exact, strict=True):
        assert mine.dtype == torch.float32
        torch.testing.assert_close(mine, oracle, rtol=0.05, atol=0.05 * float(oracle.abs().max()))


def test_grouped_second_derivative_is_right():
    experts = bank(sizes=(2, 4, 4, 4), activation="silu")
    rows_ND, counts_E = torch.randn(5, 4, requires_grad=True), torch.tensor([2, 3])

    def curvature(run):
        (grad_ND,) = torch.autograd.grad(run(experts, rows_ND, counts_E).sum(), rows_ND, create_graph=True)
        return torch.autograd.grad(grad_ND.square().sum(), [rows_ND, experts.w_in_EDH])

    for mine, oracle in zip(curvature(grouped.run), curvature(loop.run), strict=True):
        torch.testing.assert_close(mine, oracle, rtol=1e-4, atol=1e-5)


def test_slots_equal_rows():
    experts = bank(dtype=torch.float64)
    slots_END = torch.randn(6, 4, 5, dtype=torch.float64)
    rows_NO = loop.run(experts, slots_END.flatten(0, 1), torch.full((6,), 4))
    torch.testing.assert_close(experts.forward_slots(slots_END).flatten(0, 1), rows_NO)


def counted(run, experts, counts):
    rows_ND = torch.randn(sum(counts), experts.w_in_EDH.shape[1], requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        forward_NO = run(experts, rows_ND, torch.tensor(counts))
        forward = counter.get_total_flops()
        forward_NO.sum().backward()
    return forward, counter.get_total_flops()


@pytest.mark.parametrize("counts", COUNTS)
def test_grouped_product_counts_as_nothing_or_twice(counts):
    experts = bank(sizes=(6, 8, 12, 4))
    grouped.why_not.cache_clear()  # Finding out what works must not be counted either.
    # Two layers, two FLOPs a multiply-add; backward costs the same for the rows and again for the weights.
    forward = 2 * sum(counts) * (8 * 12 + 12 * 4)
    assert counted(grouped.run, experts, counts) == counted(loop.run, experts, counts) == (forward, 3 * forward)


def test_flop_formula_covers_all_forms():
    assert grouped.grouped_mm_flops((10, 8), (3, 8, 12), (3,)) == 2 * 10 * 8 * 12
    assert grouped.grouped_mm_flops((8, 10), (10, 12), (3,)) == 2 * 8 * 10 * 12
    assert grouped.grouped_mm_flops((3, 8, 5), (5, 12), (3,)) == 2 * 8 * 5 * 12
    assert grouped.grouped_mm_flops((3, 8, 5), (3, 5, 12), None) == 3 * 2 * 8 * 5 * 12


def test_experts_start_as_linear_layers_do():
    experts = bank(sizes=(40, 16, 25, 9))
    for weight, bias, fan_in in (
        (experts.w_in_EDH, experts.b_in_EH, 16),
        (experts.w_out_EHO, experts.b_out_EO, 25),
    ):
        for parameter in (weight, bias):
            assert fan_in**-0.5 * 0.95 < parameter.abs().max() <= fan_in**-0.5
            assert parameter.std().item() == pytest.approx(fan_in**-0.5 / 3**0.5, rel=0.1)


def test_backend_is_chosen_by_name_or_callable_and_survives_copies():
    experts, calls = bank(), []

    def spy(bank, rows_ND, counts_E, most=None):
        calls.append(bank)
        return loop.run(bank, rows_ND, counts_E)

    rows_ND, counts_E = torch.randn(6, 5), torch.ones(6, dtype=torch.long)
    expected = experts.forward_rows(rows_ND, counts_E)
    experts.set_backend(spy)
    assert torch.equal(experts.forward_rows(rows_ND, counts_E), expected)
    assert calls == [experts]
    for name in (None, "auto", "loop", "grouped"):
        experts.set_backend(name)
        for twin in (experts, copy.deepcopy(experts), pickle.loads(pickle.dumps(experts))):
            torch.testing.assert_close(twin.forward_rows(rows_ND, counts_E), expected)


def test_unknown_backend_is_named_at_once():
    with pytest.raises(ValueError, match=r"unknown backend 'gruoped'; known: .*grouped, loop"):
        bank().set_backend("gruoped")


def test_impossible_sizes_are_named():
    shape = LayerShape(dim=4, out_dim=4, tokens=None)
    with pytest.raises(ValueError, match="needs hidden of at least 1, not 0"):
        Experts(2, shape, 0)


def test_tutel_equals_loop_where_it_is_installed():
    tutel = pytest.importorskip("moevariants.backends.tutel", reason="Tutel is not installed", exc_type=ImportError)
    for sizes in ((6, 5, 7, 3), (8, 13, 127, 6)):
        for counts in COUNTS:
            experts = bank(sizes=sizes)
            spread = (*counts, *([1] * (sizes[0] - len(counts))))
            mine, oracle = (gradients(run, experts, spread, True) for run in (tutel.run, loop.run))
            for one, other in zip(mine, oracle, strict=True):
                torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_turns_of_sizes_that_are_rounded_are_the_loop(activation):
    """Numbers of rows that are no multiple of anything, so that experts work on rows of their neighbours."""
    experts = bank(activation=activation, sizes=(6, 48, 72, 40))
    counts = (37, 0, 61, 1, 130, 19)
    mine, oracle = (gradients(run, experts, counts, True) for run in (onednn.run, loop.run))
    for one, other in zip(mine, oracle, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_activations_have_the_gradient_that_autograd_gives_and_leave_zero(name):
    own = activation(name)
    units = torch.randn(5, 8, dtype=torch.float64, requires_grad=True)
    grad = torch.randn_like(own.apply(units))
    (wanted,) = torch.autograd.grad(own.apply(units), units, grad)
    torch.testing.assert_close(own.gradient(grad, units.detach()), wanted)
    assert not own.apply(torch.zeros(4)).any()
    none = torch.zeros(0, 4)  # rows of an expert that nobody chose
    assert own.gradient(torch.zeros_like(own.apply(none)), none).shape == none.shape
