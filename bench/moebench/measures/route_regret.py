"""Route regret (after arXiv 2605.07260): does the chosen route help, against routes that are drawn at random?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from moebench.contract import Routing
from moebench.hosts.host import Call, Reroute, Visit
from moebench.measures.scores.final import Scores
from moebench.measures.subject import Subject
from moebench.tasks import Split
from moebench.training.evaluate import asking, inputs_a_pass, run_pass

LOSS = "loss_nats"

NOT_SPARSE = "in no layer do tokens choose experts, or experts tokens"


def route_regret(subject: Subject, *, inputs: int = 512, draws: int = 8) -> Scores:
    """On the first so many test inputs: the loss under random choices of as many experts with the same weights, a mean
    over draws, less that under the chosen ones, as ``regret_nats``; and by how much the headline is worse, as
    ``regret_<headline>``. In all layers at once, and of layer n alone with `` layer n`` behind the name. 0: the choice
    carries nothing; above 0 it helps.

    Of a token that chooses, other experts get its weights, in an order at random, and each expert once at most; where
    experts choose, each gets other tokens of the input. The weights and what found no room stay as they are.
    """
    model, task, scores = subject.model, subject.task, Scores()
    headline = task.info.ranked_by
    test = subject.data("test")[:inputs]
    with asking(model):
        run_pass(model, test[:1], subject.precision, probe := Call())
    sparse = [n for n, routing in enumerate(probe.routings) if _is_sparse(routing)]
    has_loss = LOSS in _scored(subject, test[:1], None)
    names = [*(["regret_nats"] if has_loss else []), f"regret_{headline.name}"]
    if not sparse:
        for name in names:
            scores.put(name, None, NOT_SPARSE)
        return scores
    chosen = _scored(subject, test, None)

    def put(layers: list[int], suffix: str) -> None:
        drawn = [_scored(subject, test, random_routes(layers, seed)) for seed in range(draws)]
        mean = {name: sum(each[name] for each in drawn) / draws for name in chosen}
        if has_loss:
            scores.put(f"regret_nats{suffix}", mean[LOSS] - chosen[LOSS])
        scores.put(f"regret_{headline.name}{suffix}", headline.difference(chosen[headline.name], mean[headline.name]))

    put(sparse, "")
    for layer in sparse:
        put([layer], f" layer {layer + 1}")
    return scores


def random_routes(layers: list[int], seed: int) -> Reroute:
    """In these layers, choices drawn at random from a generator of their own; on the CPU, so that every device has the
    same.
    """
    generator = torch.Generator().manual_seed(seed)

    def reroute(visit: Visit) -> Routing:
        return redrawn(visit.routing, generator) if visit.index in layers else visit.routing

    return reroute


def redrawn(routing: Routing, generator: torch.Generator) -> Routing:
    """The routing with other choices, as many of them and with the same weights; as it is where it is not sparse."""
    if routing.chosen_BTK is not None:
        chosen_BTK = _drawn(routing.chosen_BTK, routing.num_experts, generator)
        return replace(routing, chosen_BTK=chosen_BTK)
    if routing.taken_BEc is not None:
        return replace(routing, taken_BEc=_drawn(routing.taken_BEc, routing.num_tokens, generator))
    return routing


def _drawn(like: Tensor, among: int, generator: torch.Generator) -> Tensor:
    """As many different ones of 0 ... among - 1 along the last axis; of more than there are, some again."""
    *rows, count = like.shape
    order = torch.rand(*rows, among, generator=generator).argsort(-1)
    repeated = torch.cat([order] * -(-count // among), -1)
    return repeated[..., :count].to(like)


def _is_sparse(routing: Routing) -> bool:
    return routing.chosen_BTK is not None or routing.taken_BEc is not None


def _scored(subject: Subject, data: Split, reroute: Callable[[Visit], Routing] | None) -> Mapping[str, float]:
    """The task's scores on data, routed so."""
    values: list[Mapping[str, Tensor]] = []
    with asking(subject.model):
        for part in data.batches(inputs_a_pass(subject.task.evaluation_batch, data)):
            outputs = run_pass(subject.model, part, subject.precision, Call(reroute=reroute))
            values.append(subject.task.scores({name: each.float() for name, each in outputs.items()}, part))
    return subject.task.summary({name: torch.cat([each[name] for each in values]) for name in values[0]})
