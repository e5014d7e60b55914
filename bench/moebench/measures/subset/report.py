"""One trained model used whole, with its selected experts, and with random ones: what each keeps and costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from moebench.hosts.host import AS_IS, Host
from moebench.measures.subset.cost import PAPERS_BATCH, REPEATS, ROUNDS, Cost, costs
from moebench.measures.subset.infer import ALL, experts_of, mean_score, subset_of
from moebench.measures.subset.scores import PAPERS, RANDOM_DRAWS
from moebench.tasks import Split, Task


@dataclass(frozen=True)
class SubsetRow:
    """One way to use the model. score: the task's headline on test data; of a random subset, the mean of
    ``RANDOM_DRAWS`` draws.

    retained: the score over that of the whole model; None where that is 0, or where a lower score is better.
    """

    name: str
    score: float
    retained: float | None
    cost: Cost


def compare(
    model: Host,
    task: Task,
    test: Split,
    k: int,
    *,
    score: str = PAPERS,
    rule: str = AS_IS,
    fitted: Sequence[Tensor] | None = None,
    batches: Sequence[int] = (1, PAPERS_BATCH),
    precision: str = "fp32",
    rounds: int = ROUNDS,
    repeats: int = REPEATS,
) -> tuple[SubsetRow, ...]:
    """The rows "all E experts", "k of E, score, rule" and "random k of E", the last under the same rule.

    Arguments and errors as in :func:`moebench.measures.subset.infer.subset_inference` and
    :func:`moebench.measures.subset.cost.costs`.
    """
    experts = experts_of(model)
    selected = subset_of(model, k, score=score, rule=rule, fitted=fitted)
    draws = [subset_of(model, k, score="random", rule=rule, seed=seed) for seed in range(RANDOM_DRAWS)]
    ways = {
        f"all {experts} experts": [ALL],
        f"{k} of {experts}, {score}, {rule}": [selected],
        f"random {k} of {experts}": draws,
    }
    scores = {name: mean_score(subsets, model, task, test, precision=precision) for name, subsets in ways.items()}
    firsts = {name: (model, subsets[0]) for name, subsets in ways.items()}
    cost = costs(firsts, test, batches=batches, precision=precision, rounds=rounds, repeats=repeats)
    whole = scores[next(iter(ways))]
    share = bool(whole) and task.info.ranked_by.higher_is_better
    return tuple(SubsetRow(name, scores[name], scores[name] / whole if share else None, cost[name]) for name in ways)
