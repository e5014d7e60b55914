"""What a trained model, or a layer alone, costs with some of its experts, beside what the machine's roofline allows."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from moebench.contract import Layer
from moebench.hosts.host import Call, Host, Visit
from moebench.measures.roofline import Roofline, measure_roofline
from moebench.measures.scores.final import Scores
from moebench.measures.serving import as_served
from moebench.measures.subject import Subject
from moebench.measures.subset.cost import Cost, costs
from moebench.measures.subset.infer import ALL, Subset, experts_of, subset_of
from moebench.statistics import ratio_interval
from moebench.training.evaluate import asking


def cost(
    subject: Subject,
    *,
    shares: Sequence[float],
    batches: Sequence[int],
    rounds: int,
    repeats: int,
    roofline: bool = False,
) -> Scores:
    """FLOPs per input, peak memory in MiB and milliseconds, by number of experts kept, such as ``k=8 model_ms
    batch=1`` with its quartiles; and ``k=2 layers_speedup batch=1``, the ratio of all experts' time to it, taken inside
    each round, with the interval of its median.

    roofline: add the machine's product rate and reading bandwidth, measured now, and what they allow at best for the
    expert layers of the model at each k and batch.
    """
    data = subject.data("validation")[: max(batches)]
    model, scores = as_served(subject.model, data.inputs, subject.precision), Scores()
    experts = experts_of(model)
    numbers = list(dict.fromkeys([experts, *(round(share * experts) for share in shares if share * experts >= 1)]))
    # The whole model chooses nothing: a selection would sort the experts first.
    subsets = {k: ALL if k == experts else subset_of(model, k) for k in numbers}
    found = costs(
        {k: (model, chosen) for k, chosen in subsets.items()},
        data,
        batches=batches,
        precision=subject.precision,
        rounds=rounds,
        repeats=repeats,
    )
    for k, each in found.items():
        scores.put(f"k={k} model_flops", each.model_flops)
        scores.put(f"k={k} layers_flops", each.layers_flops)
        put_costs(scores, f"k={k}", each)
        if k != experts:
            _put_speedups(scores, f"k={k}", found[experts], each)
    if roofline:
        machine = measure_roofline(subject.device, subject.precision)
        scores.put("machine_product_flops_per_s", machine.flops)
        scores.put("machine_read_bytes_per_s", machine.bytes)
        for k, each in found.items():
            for batch in batches:
                flops = each.layers_flops * batch
                bound = _bound_ms(model, subsets[k], data.inputs[:batch], flops, machine)
                scores.put(f"k={k} layers_bound_ms batch={batch}", bound)
    return scores


def put_costs(scores: Scores, name: str, cost: Cost) -> None:
    """``<name> peak_memory_mib``, and ``<name> model_ms batch=1`` and ``layers_ms`` with their quartiles."""
    scores.put(f"{name} peak_memory_mib", cost.peak_memory_mib, "the system does not report it")
    for batch in cost.model_ms:
        for part, spread in (("model", cost.model_ms[batch]), ("layers", cost.layers_ms[batch])):
            for end, value in (("", spread.median), ("_low", spread.low), ("_high", spread.high)):
                scores.put(f"{name} {part}_ms{end} batch={batch}", value)


def _put_speedups(scores: Scores, name: str, whole: Cost, some: Cost) -> None:
    for batch in whole.model_ms:
        for part, of_whole, of_some in (
            ("model", whole.model_ms, some.model_ms),
            ("layers", whole.layers_ms, some.layers_ms),
        ):
            ratio = ratio_interval(of_whole[batch].rounds, of_some[batch].rounds)
            for end, value in (("", ratio.value), ("_low", ratio.low), ("_high", ratio.high)):
                scores.put(f"{name} {part}_speedup{end} batch={batch}", value, "a single round has no interval")


def _bound_ms(model: Host, subset: Subset, x: Tensor, flops: float, machine: Roofline) -> float:
    """Milliseconds below which the layers cannot go: their ``flops`` for this batch, or reading once every weight that
    the batch needs, those of experts that some input keeps and those that belong to none.
    """
    read = 0.0

    def noted(visit: Visit) -> Tensor | None:
        nonlocal read
        keep_BE = subset.select(visit) if subset.select else None
        read += _bytes(visit.layer, keep_BE)
        return keep_BE

    with asking(model):
        model.run(x, Call(select=noted, rule=subset.rule))
    return machine.bound_ms(flops, read)


def _bytes(layer: Layer, keep_BE: Tensor | None) -> float:
    """Of the parameters that are read."""
    axes, total = layer.expert_parameters(), 0.0
    busy = 1.0 if keep_BE is None else float(keep_BE.any(0).sum()) / layer.num_experts
    for name, parameter in layer.named_parameters():
        total += parameter.numel() * parameter.element_size() * (busy if name in axes else 1.0)
    return total
