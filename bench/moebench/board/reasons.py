"""Why a row has no rank or lacks a number, and what to know of it: a code with its facts, and one sentence a code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from moebench.board.rules import AXIS_WORDS, BUDGET_TOLERANCE

SHOWN = 4
"""Runs without a result that are named before the rest is counted."""


@dataclass(frozen=True, init=False)
class Reason:
    """A code of :data:`SENTENCES` and the facts of its sentence.

    Every code also takes ``on_task``, the task it is of, and ``of_seeds``: on how many of how many seeds it holds.
    """

    code: str
    facts: Mapping[str, Any]

    def __init__(self, code: str, /, **facts: Any) -> None:
        object.__setattr__(self, "code", code)
        object.__setattr__(self, "facts", facts)

    def on(self, task: str) -> Reason:
        """The same reason with the task that it is of; as it is for an empty name."""
        return Reason(self.code, **{**self.facts, "on_task": task}) if task else self

    @property
    def text(self) -> str:
        """The sentence without a full stop, on one line."""
        form, place = SENTENCES[self.code], self.facts.get("place")
        text = form(**self.facts) if callable(form) else form.format(**self.facts, at=f" on {place}" if place else "")
        if task := self.facts.get("on_task"):
            text = f"{task}: {text}"
        if seeds := self.facts.get("of_seeds"):
            text = "{}, on {} of {} seeds".format(text, *seeds)
        return " ".join(text.split())

    @property
    def sentence(self) -> str:
        """With one full stop."""
        return f"{self.text.rstrip('.')}."


def _incomplete(*, planned: int, failed: Any, waiting: Any, **_: Any) -> str:
    """Which runs have no result: the first failed one with its problem, other failed ones, those not run.

    failed: (run, status, problem) of each. waiting: names.
    """
    parts = [f"{name}: {status}: {problem.rstrip('.')}" for name, status, problem in failed[:1]]
    parts += [f"{name}: {status}" for name, status, _ in failed[1:SHOWN]]
    if len(failed) > SHOWN:
        parts.append(f"{len(failed) - SHOWN} more failed")
    if waiting:
        more = f" and {len(waiting) - SHOWN} more" if len(waiting) > SHOWN else ""
        parts.append(f"not run yet: {', '.join(waiting[:SHOWN])}{more}")
    return f"incomplete, {len(failed) + len(waiting)} of {planned} runs have no result: {'; '.join(parts)}"


def _off_budget(*, error: float, amount: int, axis: str, **_: Any) -> str:
    return (
        f"its expert layers are {abs(error):.1%} {'over' if error > 0 else 'under'} the budget of {amount:,} "
        f"{AXIS_WORDS[axis]}; a row is ranked within {BUDGET_TOLERANCE:.0%}"
    )


def _differs(*, differences: Any, **_: Any) -> str:
    return f"it has {', '.join(f'{name} {own} and not {other}' for name, own, other in differences)}"


def beyond(ratio: float, limit: float) -> str:
    """With two decimals, or as many as show that a ratio is above the limit."""
    if ratio <= limit:
        return f"{ratio:.2f}"
    return next((text for n in range(2, 6) if float(text := f"{ratio:.{n}f}") > limit), f"{ratio:.6g}")


def _too_slow(*, ratio: float, limit: float, place: str, bounds: str = "", **_: Any) -> str:
    shown = beyond(ratio, limit)
    where = f" on {place}" if place else ""
    return f"its latency is {shown}x dense{where}{f', its interval {bounds}' if bounds else ''}"


def _experts_differ(*, own: str, groups: Any, **_: Any) -> str:
    """groups: (experts in words, rows) of each that can be compared."""
    shown = "; ".join(f"{', '.join(rows[:SHOWN])} ({experts})" for experts, rows in groups)
    return f"no other row has {own}; {f'those to compare are {shown}' if shown else 'no two rows are alike in this'}"


def _in_both(*, differences: Any, place: str = "", **_: Any) -> str:
    text = ", ".join(f"{name} is {own} in A and {other} in B" for name, own, other in differences)
    return f"on {place}, {text}" if place else text


def _fewer_seeds(*, shared: int, a: int, b: int, **_: Any) -> str:
    return f"{shared} seed{'s are' if shared > 1 else ' is'} in both, of {a} in A and {b} in B"


def _latency_missing(*, whys: Mapping[str, Reason], **_: Any) -> str:
    text = "; ".join(f"{name}: {why.text}" for name, why in whys.items())
    return f"Latency is not compared: {text or 'no row was measured in both'}"


SENTENCES: Mapping[str, str | Callable[..., str]] = MappingProxyType(
    {
        # why a row has no rank, or a task no score
        "cannot_run": "{problem}",
        "no_study": "no run is planned on task '{task}'",
        "cannot_be_planned": "{problem}",
        "not_run": "not run yet",
        "incomplete": _incomplete,
        "size_unknown": "its records lack the size of its layers",
        "off_budget": _off_budget,
        "reference": "reference row: {note}",
        # what its code was checked for
        "not_checked": "its code was not checked against the contract",
        "checks_fail": "it holds {holds} of {of} checks, and fails {names}",
        # what the audit of a trained model found
        "audit_repeat": "its trained model answers other than before when asked again, {gap:.2g} of the answer apart",
        "audit_labels": "its answers change with the labels of the inputs, which it may not read",
        "audit_alone": "its answer to an input alone and in a batch are {gap:.2g} of the answer apart",
        "audit_others": "its answer to an input changes by {gap:.2g} with the other inputs of the batch",
        "audit_copies": "its answer to an input changes by {gap:.2g} when inputs like it stand before it in the batch",
        "audit_later": "its answers for earlier tokens change by {gap:.2g} with later ones in a causal host",
        "audit_not_finite": "its trained model gives answers that are not finite",
        "audit_state": "being asked changes its model: {names}",
        "audit_replaced": "its code replaced {names}, with which layers are trained and scored",
        "audit_settings": "its code changed {names}, which the protocol sets",
        "audit_parameters": "it has {now:,} parameters after training and was built with {planned:,}",
        "audit_flops": "its trained layers need {ratio:.2f} times the FLOPs that are quoted, at batch {batch}",
        # why a score is missing
        "row_incomplete": "the row has no result on every seed and task yet",
        "no_ranked_dense": "'{dense}' has no ranked result to compare with",
        "no_experts": "no experts",
        "experts_unknown": "its records do not say how many experts it has, and what acts beside them",
        "always_on": "a part of its layers always acts, and makes the gain of its experts small",
        "experts_differ": _experts_differ,
        "recorded": "{text}",
        "run_ended": "the run {status}",
        "not_measured": "it was not measured",
        "dependent_trials": "trials of the sampler '{sampler}' depend on each other",
        "no_random_trial": "there is no random trial beside the default",
        "one_trial": "one trial cannot be resampled",
        # why it is not known what a layer is worth
        "no_ladder": "the suite has no ladder of dense sizes",
        "ladder_incomplete": lambda sizes, **_: (
            f"the dense ladder has no loss at {', '.join(f'{size:,}' for size in sizes)}"
        ),
        "ladder_not_falling": "no size of the dense ladder has a lower loss than the smallest",
        "loss_unknown": "its final runs have no test loss in nats on every seed",
        "cost_unknown": "its records do not say what training takes",
        "cost_not_rising": "what training takes does not rise with every size of the dense ladder",
        "no_null_row": "the suite has no row of '{null}'",
        "both_outside": "its loss and that of '{null}' lie outside the dense ladder on the same side",
        "no_oracle": "the suite has no rows of '{oracle}' and '{null}'",
        # why a latency is missing
        "nothing_to_time": "no final run is done, so there is nothing to time",
        "not_timed": "not measured yet for these rows and versions on {device}",
        "timed_elsewhere": "it was measured on {found}, not on {device}",
        "session_failed": "{text}",
        "session_empty": "its session holds no measurement",
        "session_lacks": lambda why, **_: f"its session did not measure it{f' ({why})' if why else ''}",
        "untrained_weights": "its trained weights were not kept, and a layer's time depends on where it routes",
        "unequal_rounds": "its sessions have different numbers of rounds",
        # what to know before trusting a row's numbers
        "diverged": "seed {seed} diverged and counts as the floor {floor:g}",
        "edge": "best {name} = {value:.4g} is the {end} of the {tried} tried, {low:.4g} to {high:.4g}",
        "other_device": "trained on {devices}",
        "drift": "its latency went from {early:.2f}x to {late:.2f}x dense over the rounds of its session, so its "
        "interval is too narrow",
        # why finished runs are not on the board
        "no_such_row": "the board has no row '{row}' on task '{task}'",
        "other_settings": _differs,
        # why a row does not meet an engineer's limits, or may not
        "active_unknown": "its active parameters are not known",
        "too_large": "it has {active:,} active parameters{at}",
        "latency_unknown": "its latency is not known: {why}",
        "too_slow": _too_slow,
        "perhaps_too_slow": "its latency ratio{at} lies in {bounds}",
        # why a row of A is not compared with that of B, and what to know if it is
        "tasks_differ": "tasks are {a} in A and {b} in B",
        "settings_differ": _in_both,
        "effort_differs": _in_both,
        "size_in_side": lambda side, reason, **_: f"in {side} {reason.text.partition('; ')[0]}",
        "in_side": lambda side, reason, **_: f"in {side}: {reason.text.rstrip('.')}",
        "other_budgets": "{side} has the budget {budgets}",
        "uneven_seeds": "its tasks share different numbers of seeds",
        "no_shared_seed": "no seed is in both",
        "fewer_seeds": _fewer_seeds,
        "run_again": "the same cells, run again",
        "divergence_differs": "{a} of {of_a} final runs diverged in A, {b} of {of_b} in B",
        "same_scores": "every score is the same in both",
        "one_seed": "one seed has no interval",
        "no_spread": "the difference is the same on every seed, so it has no interval",
        "latency_of_devices": "Latency is not compared: A was measured on {a} and B on {b}",
        "latency_of_batches": "Latency is not compared: A was measured at batch {a} and B at batch {b}",
        "latency_missing": _latency_missing,
    }
)
"""Every code, with its sentence."""
