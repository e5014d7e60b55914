"""What single experts do in a trained model: how alike they speak, and how many classes each serves."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from moebench.contract import Layer
from moebench.hosts.host import Call, Host
from moebench.scores.selections import all_but
from moebench.tasks import Split
from moebench.training.evaluate import answer, correct

COSINE_INPUTS = 64


def output_cosine(model: Host, data: Split) -> float | None:
    """Mean cosine between two experts' contributions to the same input, over pairs, inputs and layers.

    Contributions come from single-expert masks; pairs in which one of them is zero are left out. None if no pair is
    left.
    """
    call = Call(keep_inputs=True)
    with torch.inference_mode():
        model.run(data.inputs[:COSINE_INPUTS], call)
        values = [
            cosines
            for layer, x_BTD in zip(model.layers(), call.inputs, strict=True)
            if (cosines := _layer_cosines(layer, x_BTD)).numel()
        ]
    return float(torch.cat(values).mean()) if values else None


def _layer_cosines(layer: Layer, x_BTD: Tensor) -> Tensor:
    routing = layer.route(x_BTD)
    batch = len(x_BTD)
    one_hot = torch.eye(layer.num_experts, dtype=torch.bool, device=x_BTD.device)
    flat_EBX = torch.stack(
        [layer.compute(x_BTD, routing, keep.expand(batch, -1)).flatten(1) for keep in one_hot]
    )
    acts_EB = flat_EBX.norm(dim=2) > 0
    unit_BEX = F.normalize(flat_EBX.double(), dim=2).transpose(0, 1)
    cosine_BEE = unit_BEX @ unit_BEX.transpose(1, 2)
    both_BEE = acts_EB.T.unsqueeze(2) & acts_EB.T.unsqueeze(1)
    pairs_BEE = both_BEE & torch.ones_like(both_BEE).triu(1)
    return cosine_BEE[pairs_BEE]


def polysemanticity(model: Host, data: Split, logits_NC: Tensor, *, precision: str = "fp32") -> float | None:
    """How many classes an expert serves (after arXiv 2402.12550): 0 if removing it hurts one class alone.

    Remove expert n of one layer; d_c is the size of the relative change of the accuracy on class c, scaled to sum 1;
    p_n = ||d - onehot(argmax d)||_2, averaged over the experts that change anything. None if none does.
    """
    classes = logits_NC.shape[1]
    before_C = _class_accuracy(correct(logits_NC, data.targets), data.targets, classes)
    values = []
    for index, layer in enumerate(model.layers()):
        for expert in range(layer.num_experts):
            answers = answer(model, data, precision=precision, select=all_but(index, expert))
            after_C = _class_accuracy(correct(answers.logits_NC, data.targets), data.targets, classes)
            change_C = ((before_C - after_C) / before_C.clamp_min(1e-12)).abs() * (before_C > 0)
            if change_C.sum() > 0:
                values.append(_distance_to_one_class(change_C / change_C.sum()))
    return sum(values) / len(values) if values else None


def _distance_to_one_class(share_C: Tensor) -> float:
    one_hot_C = F.one_hot(share_C.argmax(), len(share_C))
    return float((share_C - one_hot_C).norm())


def _class_accuracy(right_N: Tensor, target_N: Tensor, classes: int) -> Tensor:
    count_C = torch.bincount(target_N, minlength=classes).double()
    right_C = torch.bincount(target_N, weights=right_N, minlength=classes)
    return right_C / count_C.clamp_min(1)
