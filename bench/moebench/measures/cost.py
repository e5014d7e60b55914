"""What a trained model, or a layer alone, costs with some of its experts, beside what the machine's roofline allows."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from moebench.contract import Layer
from moebench.hosts.host import Host, Select, Visit
from moebench.measures.roofline import Roofline, measure_roofline
from moebench.measures.scores.final import Scores
from moebench.measures.subject import Subject
from moebench.measures.subset.cost import Cost, costs_by_number
from moebench.measures.subset.infer import Subset, experts_of, subset_of
from moebench.statistics import ratio_interval
from moebench.training.evaluate import asking


def bound_ms(model: Host, subset: Subset, x: Tensor, flops: float, machine: Roofline) -> float:
    """Milliseconds below which the layers cannot go: their ``flops`` for this batch, or reading once every weight that
    the batch needs, those of experts that some input keeps and those that belong to none.
    """
    visits: list[tuple[Layer, Tensor | None]] = []
    call = subset.call()
    call.select = _noting(subset.select, visits)
    with asking(model):
        model.run(x, call)
    return machine.bound_ms(flops, sum(_bytes(layer, keep_BE) for layer, keep_BE in visits))


def _noting(select: Select | None, visits: list[tuple[Layer, Tensor | None]]) -> Select:
    def noted(visit: Visit) -> Tensor | None:
        keep_BE = select(visit) if select else None
        visits.append((visit.layer, keep_BE))
        return keep_BE

    return noted


def _bytes(layer: Layer, keep_BE: Tensor | None) -> float:
    """Of the parameters that are read."""
    axes, total = layer.expert_parameters(), 0.0
    busy = 1.0 if keep_BE is None else float(keep_BE.any(0).sum()) / layer.num_experts
    for name, parameter in layer.named_parameters():
        total += parameter.numel() * parameter.element_size() * (busy if name in axes else 1.0)
    return total


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
    experts, scores = experts_of(subject.model), Scores()
    numbers = list(dict.fromkeys([experts, *(round(share * experts) for share in shares if share * experts >= 1)]))
    data = subject.data("validation")[: max(batches)]
    found = costs_by_number(
        subject.model,
        data,
        numbers,
        batches=tuple(batches),
        precision=subject.precision,
        rounds=rounds,
        repeats=repeats,
    )
    for k, each in found.items():
        _put(scores, f"k={k}", each, batches)
        if k != experts:
            _put_speedups(scores, f"k={k}", found[experts], each, batches)
    if roofline:
        machine = measure_roofline(subject.device)
        scores.put("machine_product_flops_per_s", machine.flops)
        scores.put("machine_read_bytes_per_s", machine.bytes)
        for k, each in found.items():
            chosen = subset_of(subject.model, k)
            for batch in batches:
                flops = each.layers_flops * batch
                bound = bound_ms(subject.model, chosen, data.inputs[:batch], flops, machine)
                scores.put(f"k={k} layers_bound_ms batch={batch}", bound)
    return scores


def _put_speedups(scores: Scores, name: str, whole: Cost, some: Cost, batches: Sequence[int]) -> None:
    for batch in batches:
        for part, of_whole, of_some in (
            ("model", whole.model_ms, some.model_ms),
            ("layers", whole.layers_ms, some.layers_ms),
        ):
            ratio = ratio_interval(of_whole[batch].rounds, of_some[batch].rounds)
            for end, value in (("", ratio.value), ("_low", ratio.low), ("_high", ratio.high)):
                scores.put(f"{name} {part}_speedup{end} batch={batch}", value, "a single round has no interval")


def _put(scores: Scores, name: str, cost: Cost, batches: Sequence[int]) -> None:
    scores.put(f"{name} model_flops", cost.model_flops)
    scores.put(f"{name} layers_flops", cost.layers_flops)
    scores.put(f"{name} peak_memory_mib", cost.peak_memory_mib, "the system does not tell")
    for batch in batches:
        for part, spreads in (("model", cost.model_ms), ("layers", cost.layers_ms)):
            spread = spreads[batch]
            scores.put(f"{name} {part}_ms batch={batch}", spread.median)
            scores.put(f"{name} {part}_ms_low batch={batch}", spread.low)
            scores.put(f"{name} {part}_ms_high batch={batch}", spread.high)
