"""Single experts of a trained model: how alike they are, what acts beside them, and how many classes each serves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F

from moebench.contract import Layer, Routing
from moebench.hosts.host import Call, Host
from moebench.measures.subset.select import all_but
from moebench.tasks import Split, Task
from moebench.training.evaluate import Evaluation, asking, evaluate_task, run_pass

COSINE_INPUTS = 64
POLYSEMANTICITY_INPUTS = 1000
POLYSEMANTICITY_EXPERTS = 32
"""Of a layer, at most; evenly spaced among those there are."""


def output_cosine(model: Host, data: Split, *, precision: str = "fp32") -> float | None:
    """Mean cosine between what two experts contribute to one token, over pairs, tokens, inputs and layers.

    Contributions come from single-expert masks, less what acts when every expert is masked, on the first 64 inputs, in
    the ``precision`` of the run; a pair counts where neither is zero. None if no two experts meet on a token.
    """
    total, pairs = 0.0, 0.0
    with _asking_in(model, data, precision):
        for layer, x_BTD, routing in _met(model, data, precision):
            cosines, count = _sum_of_cosines(layer, x_BTD, routing)
            total, pairs = total + cosines, pairs + count
    return total / pairs if pairs else None


def always_on_share(model: Host, data: Split, *, precision: str = "fp32") -> float:
    """How much of a layer's output comes from parts that always act: with a the output of a token when every expert is
    masked and y its whole output, the sum of |a| over that of |a| + |y - a|, a mean over layers, on the first 64
    inputs. 0 where nothing always acts.
    """
    shares = []
    with _asking_in(model, data, precision):
        for layer, x_BTD, routing in _met(model, data, precision):
            always_BTO = layer.compute(x_BTD, routing, _nobody(layer, x_BTD)).double()
            of_experts_BTO = layer.compute(x_BTD, routing).double() - always_BTO
            always, of_experts = (float(y_BTO.norm(dim=-1).sum()) for y_BTO in (always_BTO, of_experts_BTO))
            shares.append(always / (always + of_experts) if always else 0.0)
    return sum(shares) / len(shares)


def weight_cosine(model: Host) -> float | None:
    """Mean cosine between the parameters of two experts, each flattened into one vector, over pairs and layers.

    After arXiv 2406.18219. It sees one order of the hidden units: experts that compute the same with their
    units in another order are unlike here and alike in :func:`output_cosine`. Only experts of one size are compared.
    None without two of them.
    """
    total, pairs = 0.0, 0
    for layer in model.layers():
        held: Callable[[str], range] | None = getattr(layer, "experts_held", None)
        banks = dict[range, list[Tensor]]()
        parameters = dict(layer.named_parameters())
        for name, axis in layer.expert_parameters().items():
            stack_En = parameters[name].detach().double().movedim(axis, 0).flatten(1)
            banks.setdefault(held(name) if held else range(len(stack_En)), []).append(stack_En)
        for stacks in banks.values():
            unit_En = F.normalize(torch.cat(stacks, 1), dim=1)
            experts = len(unit_En)
            total += float(unit_En.sum(0).square().sum() - unit_En.square().sum()) / 2
            pairs += experts * (experts - 1) // 2
    return total / pairs if pairs else None


@contextmanager
def _asking_in(model: Host, data: Split, precision: str) -> Iterator[None]:
    """Layers are asked alone as they are in the model: in its precision, too."""
    with asking(model), torch.autocast(data.inputs.device.type, torch.bfloat16, enabled=precision == "bf16"):
        yield


def _met(model: Host, data: Split, precision: str = "fp32") -> Iterator[tuple[Layer, Tensor, Routing]]:
    """Each layer with experts, with what it met in a pass of the first inputs and how it routed that."""
    call = Call(keep_inputs=True)
    run_pass(model, data[:COSINE_INPUTS], precision, call)
    for met in zip(model.layers(), call.inputs, call.routings, strict=True):
        if met[0].num_experts:
            yield met


def _nobody(layer: Layer, x_BTD: Tensor) -> Tensor:
    return torch.zeros(len(x_BTD), layer.num_experts, dtype=torch.bool, device=x_BTD.device)


def _sum_of_cosines(layer: Layer, x_BTD: Tensor, routing: Routing) -> tuple[float, float]:
    """(Sum over tokens and pairs of experts, number of pairs), without keeping all contributions at once.

    For n unit vectors u the sum over pairs of u_i . u_j is (|sum of u|^2 - n) / 2.
    """
    always_BTO = layer.compute(x_BTD, routing, _nobody(layer, x_BTD)).double()
    sum_BTO, acting_BT = x_BTD.new_zeros((), dtype=torch.double), x_BTD.new_zeros((), dtype=torch.double)
    for expert in range(layer.num_experts):
        keep_BE = _nobody(layer, x_BTD)
        keep_BE[:, expert] = True
        y_BTO = layer.compute(x_BTD, routing, keep_BE).double() - always_BTO
        acts_BT = y_BTO.any(-1)
        sum_BTO = sum_BTO + F.normalize(y_BTO, dim=-1, eps=1e-300)
        acting_BT = acting_BT + acts_BT
    sums_BT = sum_BTO.square().sum(-1) - acting_BT
    return float(sums_BT.sum()) / 2, float((acting_BT * (acting_BT - 1)).sum()) / 2


def polysemanticity(
    model: Host, task: Task, data: Split, whole: Evaluation, *, precision: str = "fp32"
) -> float | None:
    """How many classes an expert serves (after arXiv 2402.12550): 0 if removing it hurts one class only.

    Remove expert n of one layer; d_c is the size of the relative change of the accuracy on class c, scaled to
    sum 1; p_n = ||d - onehot(argmax d)||_2, averaged over the experts that change anything; None: none does.
    ``task`` has one class for each input. ``whole`` is the whole model on ``data``. Only the first 1,000 inputs and 32
    experts of a layer are looked at, because each expert takes a pass.
    """
    assert task.class_target is not None
    headline, classes = task.info.ranked_by.name, task.info.targets[task.class_target]
    data = data[:POLYSEMANTICITY_INPUTS]
    class_N, before_N = data.targets[task.class_target], whole.values[headline][:POLYSEMANTICITY_INPUTS]
    before_C = _class_means(before_N, class_N, classes)
    values = []
    for layer, mass_NE in enumerate(whole.masses):
        if mass_NE is None:
            continue
        for expert in _looked_at(mass_NE.shape[1]):
            mass_N = mass_NE[:POLYSEMANTICITY_INPUTS, expert]
            after_N = before_N.clone()
            routed = mass_N > 0  # the others' answers cannot change
            if routed.any():
                select = all_but(layer, expert)
                found = evaluate_task(model, task, data[routed], precision=precision, select=select)
                after_N[routed] = found.values[headline]
            change_C = (_class_means(after_N, class_N, classes) / before_C - 1).abs()[before_C > 0]
            if change_C.sum() > 0:
                values.append(_distance_to_one_class(change_C / change_C.sum()))
    return sum(values) / len(values) if values else None


def _looked_at(experts: int) -> list[int]:
    count = min(experts, POLYSEMANTICITY_EXPERTS)
    return [index * experts // count for index in range(count)]


def _distance_to_one_class(share_C: Tensor) -> float:
    one_hot_C = F.one_hot(share_C.argmax(), len(share_C))
    return float((share_C - one_hot_C).norm())


def _class_means(value_N: Tensor, class_N: Tensor, classes: int) -> Tensor:
    """Mean over the inputs of each class (C,); 0 where a class has no inputs."""
    count_C = torch.bincount(class_N, minlength=classes).double()
    # A weighted bincount would add in any order on a GPU.
    total_C = value_N.new_zeros(classes).index_add_(0, class_N, value_N)
    return total_C / count_C.clamp_min(1)
