"""How far an input's own experts suffice for it, and the accuracies it is made of.

Specialization = mean over f in {1/8, 1/4, 1/2} of (A_sel - A_static) / (A_all - A_none), where A_sel keeps
the k = f E experts of largest mass for that input, A_static the same k for every input (fitted on validation
data), and A_none none. It is 0 for any choice that does not depend on the input, a collapsed router included.

``selection_gain`` is the numerator and ``experts_gain`` the denominator. The quotient of two models can be compared
where both have as many experts, as many act on a token and nothing acts beside them: a part that always acts makes the
denominator small, and of more experts an eighth are more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from moebench.hosts.host import Host, Select
from moebench.measures.scores.information import shares
from moebench.measures.scores.shares import LEAST_DEPENDENCE, LEAST_STANDARD_ERRORS, NO_EXPERTS, NOT_DEPENDENT, SHARES
from moebench.measures.subset.scores import RANDOM_DRAWS, score_named
from moebench.measures.subset.select import keep_largest, largest, nothing
from moebench.tasks import Split, Task
from moebench.training.evaluate import Evaluation, evaluate_task


@dataclass(frozen=True)
class Specialization:
    """value: specialization, or None with its ``reason``. scores: accuracies and ratios beside it, by name."""

    value: float | None
    reason: str
    scores: dict[str, float] = field(default_factory=dict)


def specialization(
    model: Host,
    task: Task,
    test: Split,
    all_experts: Evaluation,
    mean_mass: Sequence[Tensor] | None,
    *,
    precision: str = "fp32",
) -> Specialization:
    """Measure one trained model. ``all_experts`` is what it does on ``test`` without a mask, in the task's scores;
    ``mean_mass[layer]`` (E,) was fitted on validation data, and is None without experts.
    """
    if mean_mass is None:
        return Specialization(None, NO_EXPERTS)
    experts = {len(mass_E) for mass_E in mean_mass}
    headline = task.info.ranked_by.name

    def right(select: Select) -> Tensor:
        """Which test inputs are answered right (N,) when ``select`` chooses the experts: their headline."""
        return evaluate_task(model, task, test, precision=precision, select=select).values[headline]

    all_N, none_N = all_experts.values[headline], right(nothing)
    difference_N = all_N - none_N
    depends, error = float(difference_N.mean()), float(difference_N.std(correction=1) / len(difference_N) ** 0.5)
    scores = {
        "accuracy_all_experts": float(all_N.mean()),
        "accuracy_no_experts": float(none_N.mean()),
        "experts_gain": depends,
    }
    if any(count < 8 or count % 8 for count in experts):
        reason = f"{' and '.join(map(str, sorted(experts)))} experts; it needs at least 8, in multiples of 8"
        return Specialization(None, reason, scores)
    gaps = [_at_share(right, name, share, mean_mass, all_experts, scores) for name, share in SHARES.items()]
    scores["paper_gap"] = sum(scores[f"paper_gap_{name}"] for name in SHARES) / len(SHARES)
    scores["selection_gain"] = sum(gaps) / len(gaps)
    if depends < max(LEAST_DEPENDENCE, LEAST_STANDARD_ERRORS * error):
        reason = f"{NOT_DEPENDENT} (all {all_N.mean():.3f}, none {none_N.mean():.3f})"
        return Specialization(None, reason, scores)
    return Specialization(scores["selection_gain"] / depends, "", scores)


def _at_share(
    right: Callable[[Select], Tensor],
    name: str,
    share: float,
    mean_mass: Sequence[Tensor],
    everything: Evaluation,
    scores: dict[str, float],
) -> float:
    """Add the accuracies at one share, which ends their names, to ``scores``; returns A_sel - A_static."""
    chosen = float(right(largest(score_named("combine_sum"), share)).mean())
    fixed = float(right(largest(score_named("static", fitted=mean_mass), share)).mean())
    random = largest(score_named("random", generator=torch.Generator().manual_seed(0)), share)
    draws = [float(right(random).mean()) for _ in range(RANDOM_DRAWS)]
    chance = sum(draws) / len(draws)
    everyone = scores["accuracy_all_experts"]
    scores |= {
        f"accuracy_selected_{name}": chosen,
        f"accuracy_static_{name}": fixed,
        f"accuracy_random_{name}": chance,
        f"paper_gap_{name}": chosen - chance,
        f"retained_{name}": chosen / everyone if everyone else 0.0,
        f"mass_kept_{name}": _mass_kept(everything, share),
    }
    return chosen - fixed


def _mass_kept(everything: Evaluation, share: float) -> float:
    """Mean share of an input's mass that its subset holds, over inputs and layers, on the unmasked stream."""
    kept = []
    for mass_NE in everything.masses:
        assert mass_NE is not None
        keep_NE = keep_largest(mass_NE, round(share * mass_NE.shape[1]))
        kept.append((shares(mass_NE) * keep_NE).sum(1).mean())
    return float(torch.stack(kept).mean())
