"""What single tokens tell of a router: a fixed sample of them, layer by layer; all scores are means over the layers.

M tokens of the sample: those of the first inputs, N of them, T tokens each
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import log

import torch
from torch import Tensor

from moebench.contract import Routing
from moebench.hosts.host import Call, Host
from moebench.measures.scores.coactivation import co_activation
from moebench.measures.scores.information import expert_information
from moebench.tasks import Split, Task
from moebench.training.evaluate import asking, run_pass
from moebench.training.routes import WHEN, RouteWatch

SAMPLE = 8192
"""Tokens of a layer that are looked at, at most; whole inputs, one at least."""

NO_LOGITS = "no layer shows logits"
NO_PROBABILITIES = "no layer shows probabilities"
NO_PAIRS = "no two experts are chosen by one token"


@dataclass(frozen=True)
class Routes:
    """Of one layer. share_NTE: p(e | token), 0 for a token without an expert. probability_NTE: the router's."""

    share_NTE: Tensor
    count_NTE: Tensor | None
    probability_NTE: Tensor | None
    logits_NTS: Tensor | None


def token_scores(
    model: Host, task: Task, data: Split, *, precision: str = "fp32"
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Scores by name, and the reason of each that is None. Empty without experts.

    ``expert_information_<label>``: I(expert; label) / H(expert), less what chance gives; the label is the ``class`` of
    a token's input, its ``position``, and where there are any its ``token`` id and its ``group``. p(e | token) is the
    share of its choices, or of its combine weights where every expert acts on every token.
    ``router_entropy``: mean over tokens of the entropy of the router's probabilities, over ln E: softmax of the logits,
    or combine weights that every expert has. ``router_z``: mean of logsumexp(logits)^2. ``co_activation``: see there.
    """
    layers = routes_of(model, data, precision)
    if not layers:
        return {}, {}
    values: dict[str, float | None] = {}
    for name, label_NT in _labels(task, data).items():
        of_layers = [_information(each, label_NT) for each in layers]
        if name in ("class", "position") or any(value is not None for value in of_layers):
            values[f"expert_information_{name}"] = _mean(of_layers)
    values["router_entropy"] = _mean([_entropy(each.probability_NTE) for each in layers])
    values["router_z"] = _mean([_z(each.logits_NTS) for each in layers])
    reasons = {"router_entropy": NO_PROBABILITIES, "router_z": NO_LOGITS, "co_activation": NO_PAIRS}
    counts = [each.count_NTE for each in layers if each.count_NTE is not None]
    if counts:
        values["co_activation"] = _mean([co_activation(count_NTE.flatten(0, 1)) for count_NTE in counts])
    if task.class_target is None:
        values["expert_information_class"], reasons["expert_information_class"] = None, task.no_class
    return values, {name: reason for name, reason in reasons.items() if name in values and values[name] is None}


def _mean(values: list[float | None]) -> float | None:
    """Over the layers that have the score; None where none has."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def routes_of(model: Host, data: Split, precision: str) -> list[Routes]:
    """Of every layer with experts, on the first inputs."""
    call, logits = Call(keep_inputs=True), list[Tensor | None]()
    with asking(model):
        run_pass(model, data[:1], precision, probe := Call())
        most = max((routing.mass_BE is not None) * _tokens(routing) for routing in probe.routings)
        if not most:
            return []
        run_pass(model, data[: max(1, SAMPLE // most)], precision, call)
        for layer, x_BTD in zip(model.layers(), call.inputs, strict=True):
            shown: Callable[[Tensor], Tensor | None] | None = getattr(layer, "router_logits", None)
            logits.append(shown(x_BTD) if shown else None)
        return [*_described(call.routings, logits)]


def _tokens(routing: Routing) -> int:
    combine_BTE = routing.combine_BTE
    return 0 if combine_BTE is None else combine_BTE.shape[1]


def _described(routings: list[Routing], logits: list[Tensor | None]) -> Iterator[Routes]:
    for routing, logits_NTS in zip(routings, logits, strict=True):
        combine_NTE, count_NTE = routing.combine_BTE, routing.count_BTE
        if combine_NTE is None:
            continue
        weight_NTE = (combine_NTE if count_NTE is None else count_NTE).double().cpu()
        total_NT1 = weight_NTE.sum(2, keepdim=True)
        share_NTE = weight_NTE / total_NT1.where(total_NT1 > 0, 1.0)
        wide = None if logits_NTS is None else logits_NTS.double().cpu()
        probability_NTE = share_NTE if count_NTE is None else None if wide is None else wide.softmax(2)
        yield Routes(share_NTE, None if count_NTE is None else count_NTE.cpu(), probability_NTE, wide)


def _labels(task: Task, data: Split) -> Mapping[str, Tensor | None]:
    """(N, T), (N, 1) of whole inputs, or None: by position."""
    ids = data.inputs if data.inputs.ndim == 2 and not data.inputs.is_floating_point() else None
    class_N1 = None if task.class_target is None else data.targets[task.class_target].unsqueeze(1)
    found: dict[str, Tensor | None] = {"class": class_N1, "position": None, "token": ids, "group": data.groups_NT}
    return {name: label for name, label in found.items() if label is not None or name == "position"}


def _information(routes: Routes, label_NT: Tensor | None) -> float | None:
    """None where the labels are not those of this layer's tokens."""
    num_inputs, num_tokens = routes.share_NTE.shape[:2]
    if label_NT is None:
        position_NT = torch.arange(num_tokens).expand(num_inputs, -1)
        return expert_information(routes.share_NTE, position_NT, within=True)
    label_NT = label_NT[:num_inputs].cpu()
    return expert_information(routes.share_NTE, label_NT) if label_NT.shape[1] in (1, num_tokens) else None


def _entropy(probability_NTE: Tensor | None) -> float | None:
    """Over the tokens that have probabilities; 0 for a single expert."""
    if probability_NTE is None:
        return None
    p_ME = probability_NTE.flatten(0, 1)
    p_ME = p_ME[p_ME.sum(1) > 0]
    experts = p_ME.shape[1]
    return float(-torch.special.xlogy(p_ME, p_ME).sum(1).mean()) / log(experts) if experts > 1 and len(p_ME) else 0.0


def _z(logits_NTS: Tensor | None) -> float | None:
    return None if logits_NTS is None else float(logits_NTS.logsumexp(2).square().mean())


def saturation(watch: RouteWatch) -> dict[str, float]:
    """``saturation_1_8`` and so on: after that share of the steps, the share of a token's experts at the end that it
    had already, as a mean over tokens that have experts at the end, then over layers (router saturation of OLMoE, arXiv
    2409.02060). Chance gives K/E. Empty where no layer chooses.
    """
    last = watch.look()
    found = dict[str, float]()
    for place, share in enumerate(WHEN):
        of_layers = []
        for layer, end_ME in last.items():
            seen_ME, end_M = watch.tensors[f"routes/{layer}"][place], end_ME.sum(1)
            stayed_M = (seen_ME & end_ME).sum(1)[end_M > 0] / end_M[end_M > 0]
            of_layers += [float(stayed_M.double().mean())] if len(stayed_M) else []
        if of_layers:
            found[f"saturation_{share}"] = sum(of_layers) / len(of_layers)
    return found
