"""The sentences around the table and what every row shared, the same in every format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import log
from typing import Any

from moebench.board.model import Against, Board, Entry, Multiple, Rung, TaskNote
from moebench.board.numbers import fixed, multiple, setting, short, shown_name, with_interval
from moebench.board.reasons import Reason
from moebench.board.rules import AXIS_WORDS, NULL, seeds_note
from moebench.plans.rows import BASELINE
from moebench.plugins.named import without_digest
from moebench.statistics import Calibration
from moebench.statistics.power import MOST_SEEDS, seeds_to_exclude
from moebench.tasks.base import UNKNOWN_DATA
from moebench.text import counted_noun, one_line

NOT_COMPARED = {
    "experts_differ": "no other row has its experts",
    "always_on": "a part always acts",
    "experts_unknown": "experts not recorded",
}
"""Why a quotient of specialization has nothing to be compared with, by code, in few words."""

FROZEN = "random_router"
"""The variant of the frozen router that the layers below can steer."""

MOST_NAMES = 10
MANY_ROWS, FEW_NAMES = 100, 3
"""Names in one sentence: a board of 500 rows has 250 that are better than one in the middle."""


def amount(board: Board, budget: int) -> str:
    """The budget with what it counts: ``264,000 parameters in the expert layers (total)``."""
    return f"{budget:,} {counted(board.axis)}"


def counted(axis: str) -> str:
    """What a budget of an axis counts, and where."""
    return f"{AXIS_WORDS[axis]} in the expert layers{' (total)' if axis == 'total' else ''}"


def heading(board: Board, budget: int) -> str:
    """What is compared: suite, protocol, tasks, budget of the expert layers, device."""
    tasks = ", ".join(
        data_name(task)
        + (f" ({', '.join(amounts)})" if (amounts := [*filter(None, (epochs(task), scored(task)))]) else "")
        for task in board.tasks
    )
    parts = (board.suite, f"protocol {board.protocol}", tasks, amount(board, budget), board.device)
    return "  ".join(map(one_line, parts))


def data_name(task: TaskNote) -> str:
    """The task's name, or of data that are not known what they look like."""
    return task.label if is_unknown(task) else task.name


def is_unknown(task: TaskNote) -> bool:
    """Whether its data are none that moebench knows."""
    return task.label.startswith(UNKNOWN_DATA)


def epochs(task: TaskNote) -> str:
    """How often training passes over the data; empty where that is not known, or batches are drawn afresh."""
    if not task.epochs:
        return ""
    return f"{task.epochs:.3g} epoch{'' if f'{task.epochs:.3g}' == '1' else 's'}"


def scored(task: TaskNote) -> str:
    """How much text was scored; empty of other tasks."""
    return f"{task.scored_bytes:,} bytes scored" if task.scored_bytes else ""


def axis_word(board: Board) -> str:
    """What a budget counts."""
    return AXIS_WORDS[board.axis]


def subtitle(board: Board) -> str:
    """Suite, protocol, size of the models, length of training and device, in a line."""
    dense = (entry.counts for rung in board.rungs for entry in rung.entries if entry.variant == BASELINE)
    sizes = ", ".join(dict.fromkeys(short(counts.model_params) for counts in dense if counts))
    trained = dict.fromkeys(_training(task) for task in board.tasks)
    parts = [
        f"suite {board.suite}",
        f"protocol {board.protocol}",
        ", ".join(task.label for task in board.tasks),
        f"models of {sizes} parameters" if sizes else "",
        "; ".join(trained),
        board.device,
    ]
    return one_line(" \N{MIDDLE DOT} ".join(filter(None, parts)))


def held_equal(board: Board, rung: Rung) -> str:
    """The budget, the effort and the training that all rows share, in a line."""
    training = "; ".join(dict.fromkeys(_training(task) for task in board.tasks))
    effort = f"{trials_said(board)}, {counted_noun(board.seeds, 'seed')}"
    arithmetic = "; ".join(dict.fromkeys(_arithmetic(task) for task in board.tasks))
    return one_line(f"{amount(board, rung.budget)}, {effort}, {training}, {arithmetic}, data and host")


def finding(board: Board, rung: Rung) -> str:
    """What was found at a budget, in a few sentences: who won or tied, by how much, what routing is worth, and what it
    costs.
    """
    tasks = and_([one_line(task.label) for task in board.tasks])
    where = f"On {tasks} at {short(rung.budget)} {AXIS_WORDS[board.axis]}"
    ranked = [entry for entry in rung.entries if entry.rank]
    if not ranked:
        return f"{where} no row has a rank yet."
    first = [shown_name(entry.variant) for entry in ranked if entry.rank and entry.rank[0] == 1]
    score = score_name(board)
    if len(ranked) == 1:
        won = f"{first[0]} is the only ranked row"
    elif len(first) == 1:
        won = f"{first[0]} has significantly the best {score}"
    elif len(first) == len(ranked):
        won = f"all {len(ranked)} ranked rows tie in {score}"
    else:
        behind = counted_noun(len(ranked) - len(first), "other")
        won = f"{and_(_few(first))} tie for the best {score}, ahead of {behind}"
    leader = next((entry for entry in ranked if entry.variant != BASELINE), None)
    if leader is None:
        return f"{where} {won}."
    said = _routing(board, rung, leader)
    facts = [
        _against_compute(board, rung, leader),
        said,
        _references_ahead(rung, leader),
        latency_of(board, leader),
    ]
    found = f"{where} {won}. {shown_name(leader.variant)} {'; '.join(filter(None, facts))}."
    return f"{found}{'' if said else _routing_elsewhere(board, rung, ranked)}{_largest_multiplier(ranked, leader)}"


def _few(names: Sequence[str], most: int = 3) -> list[str]:
    return [*names[:most], *([f"{len(names) - most} more"] if len(names) > most else [])]


def and_(names: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def _against_compute(board: Board, rung: Rung, leader: Entry) -> str:
    """The share of dense's compute that it needs, or its difference from dense, and whether that is significant."""
    found = leader.worth.compute_multiplier
    if found is not None and found.value is not None:
        ends = f" ({1 / found.high:.2f} to {1 / found.low:.2f})" if found.low and found.high else ""
        return f"needs {1 / found.value:.2f}{ends} of dense's compute for its loss"
    if found is not None and found.bound and found.limit:
        than = "less" if found.bound == ">" else "more"
        return f"needs {than} than {1 / found.limit:.2f} of dense's compute for its loss"
    dense = next((entry for entry in rung.entries if entry.variant == BASELINE), None)
    if dense is None or leader.vs_dense is None:
        return f"has {with_interval(leader.representation)}"
    clear = BASELINE in leader.better_than or leader.variant in dense.better_than
    value, low, high = leader.vs_dense.value, leader.vs_dense.low, leader.vs_dense.high
    ahead = (value >= 0) == board.tasks[0].higher_is_better
    # So that a lead is a positive number where less is better, too.
    sign = -1 if value < 0 else 1
    between = [] if low is None or high is None else [fixed(sign * each) for each in (low, high)][::sign]
    shown = f" ({' to '.join(between)})" if between else ""
    return (
        f"is {fixed(abs(value))} {'ahead of' if ahead else 'behind'} dense{shown}, "
        f"{'significantly' if clear else 'which is not significant'}"
    )


def _largest_multiplier(ranked: Sequence[Entry], leader: Entry) -> str:
    """Which row saves most of dense's compute, where that is not the first.

    None where any row is above the ladder: of that one only a limit is known, so it may save more.
    """
    found = [(e, its) for e in ranked if e.variant != BASELINE and (its := e.worth.compute_multiplier)]
    known = [(each.value, entry, each) for entry, each in found if each.value is not None]
    if not known or any(each.bound == ">" for _, each in found):
        return ""
    value, best, its = max(known, key=lambda each: each[0])
    if best is leader or value <= 1:
        return ""
    return f" {shown_name(best.variant)} has the largest compute multiplier, {multiple(its)}."


def _routing(board: Board, rung: Rung, leader: Entry) -> str:
    """What its learned routing is worth, or whether it is significantly better than a frozen router."""
    found = leader.worth.routing_worth
    if found is not None and (found.value is not None or found.bound):
        said = multiple(found).replace("> ", "more than ").replace("< ", "less than ")
        return f"its learned routing is worth {said}{_unclear(found, board.seeds)}"
    if not (leader.experts or leader.selection_gain or leader.specialization):
        return ""
    nulls = {entry.variant: entry.implementation for entry in rung.entries if entry.implementation in (NULL, FROZEN)}
    against = sorted(
        (each for each in rung.against if each.reference in nulls), key=lambda e: nulls[e.reference] != NULL
    )
    if not against:
        return ""
    null, name = against[0], shown_name(against[0].reference)
    if leader.variant in null.better:
        return f"its routing is significantly better than {name}"
    if leader.variant in null.worse:
        return f"its routing is significantly worse than {name}"
    return f"no significant difference from {name}, which routes at random"


def _unclear(worth: Multiple, seeds: int) -> str:
    """Where an interval includes 1: with how many seeds it would not."""
    if worth.value is None or worth.low is None or worth.high is None or not worth.low <= 1 <= worth.high:
        return ""
    distance, half_width = abs(log(worth.value)), log(worth.high / worth.low) / 2
    needed = seeds_to_exclude(distance, half_width, seeds) if distance and half_width else None
    if needed is None:
        return f", which is not clearly different from 1; even {MOST_SEEDS} seeds would seldom show that it is"
    return f", which is not clearly different from 1; about {needed} seeds would show it in four of five boards"


def _references_ahead(rung: Rung, leader: Entry) -> str:
    """Reference rows that beat it, such as a hash or an oracle; a frozen router is named already."""
    frozen = {entry.variant for entry in rung.entries if entry.implementation in (NULL, FROZEN)}
    ahead = [each.reference for each in rung.against if leader.variant in each.worse]
    names = [shown_name(name) for name in ahead if name not in frozen and name != BASELINE]
    return f"it is significantly worse than the reference {and_(names)}" if names else ""


def _routing_elsewhere(board: Board, rung: Rung, ranked: Sequence[Entry]) -> str:
    """The same of the first ranked row of which something can be said, where nothing can of the leader."""
    said = ((entry, _routing(board, rung, entry)) for entry in ranked if entry.variant != BASELINE)
    return next(
        (f" The first row that routes, {shown_name(entry.variant)}: {text}." for entry, text in said if text), ""
    )


def latency_of(board: Board, leader: Entry) -> str:
    """Latency over that of dense, at the suite's batch and at batch 1, as they differ."""
    timings = {board.latency_batch: leader.latency, 1: leader.latency_batch1}
    ratios = {batch: each.ratio_to_dense for batch, each in timings.items() if each and each.ratio_to_dense}
    found = " and ".join(f"{ratio.value:.2f}x dense at batch {batch}" for batch, ratio in ratios.items())
    return f"latency {found}" if found else ""


def worth_notes(board: Board) -> tuple[str, ...]:
    """The ladder of dense sizes, task by task, with its fit; nothing where the suite has none."""
    found = []
    for ladder in board.dense_ladder:
        said = f"Dense ladder on {one_line(ladder.task)}: "
        if ladder.reason:
            found.append(f"{said}{one_line(ladder.reason.sentence)}")
            continue
        rungs = zip(ladder.sizes, ladder.flops, ladder.loss, strict=True)
        said += "; ".join(
            f"{short(size)} {AXIS_WORDS[board.axis]}, {short(flops)} training FLOPs, {with_interval(loss)} nats"
            for size, flops, loss in rungs
        )
        if ladder.no_better:
            said += f"; no better than a smaller size, and left out: {', '.join(map(short, ladder.no_better))}"
        if fit := ladder.fit:
            residuals = ", ".join(f"{value:+.3f}" for value in fit.residuals)
            said += (
                f". Fit: loss = {fit.floor:.3f} + {fit.scale:.3g} x FLOPs^-{fit.exponent:.3f}, residuals {residuals}"
            )
        found.append(f"{said}.")
    if found:
        found.append(WORTH)
    return tuple(found)


WORTH = (
    "Compute multiplier: training FLOPs of a dense model of the row's test loss, over the row's own; log FLOPs are "
    "interpolated in the loss between two sizes of dense. Worth of routing: that multiplier over the one of a layer "
    "with a detached frozen router. Intervals pair seeds. Small models trained on few tokens: it holds for this suite."
)


def tier(board: Board) -> str:
    """Who vouches for the numbers beside their author; empty where nobody does."""
    v = board.verification
    if v is None or v.agreed < v.rerun:
        return ""
    return f"re-run: {v.agreed} of {counted_noun(v.runs, 'run')}, all agreed"


def how_ranked(board: Board) -> str:
    """Effort, what ranks, and what the intervals are."""
    effort = f"{counted_noun(board.seeds, 'seed')}, {trials_said(board)} ({board.sampler})"
    lower = "" if board.tasks[0].higher_is_better else " (lower is better)"
    return f"{effort}  ranked by test {score_name(board)}{lower}  ± 95% interval over training seeds"


def trials_said(board: Board) -> str:
    """How many trials, and their steps where they are fewer than those of the final runs."""
    steps = f" of {board.trial_steps:,} steps" if board.trial_steps else ""
    return f"{counted_noun(board.trials, 'trial')}{steps}"


def score_name(board: Board) -> str:
    """The name of the score that ranks."""
    return metric_name([task.metric for task in board.tasks])


def beside_name(board: Board) -> str:
    """The name of the score beside the one that ranks."""
    return metric_name([task.metric_beside or "other score" for task in board.tasks])


def metric_name(metrics: Sequence[str]) -> str:
    """In words, the metric that all tasks have, or ``score``."""
    return metrics[0].replace("_nats", " in nats").replace("_", " ") if len(set(metrics)) == 1 else "score"


def footer(board: Board) -> tuple[str, ...]:
    """What a reader must know to read the numbers."""
    notes = [seeds_note(board.seeds)]
    if board.seeds == 1:
        notes.append("One seed has no interval, so no row differs significantly from another.")
    elif any(_without_bounds(entry) for rung in board.rungs for entry in rung.entries):
        notes.append("±? means that all seeds score the same, which sets no bounds and is not certainty.")
    if len(board.tasks) > 1:
        notes.append("Scores and counts are means over tasks; latency is the mean over tasks in each round.")
    return tuple(notes)


def _without_bounds(entry: Entry) -> bool:
    """Whether a score in the table has no interval."""
    shown = (entry.representation, entry.vs_dense if entry.variant != BASELINE else None, entry.specialization)
    return any(measure is not None and measure.low is None for measure in shown)


def remarks(rung: Rung) -> tuple[tuple[str, str], ...]:
    """(row, sentence): why it has no rank, what to know of it, why a headline is missing; then :func:`edges`."""
    common = _common_latency_reason(rung)
    found = []
    for entry in rung.entries:
        flags = [flag for flag in entry.flags if flag.code != "edge"]
        sentences = [*([entry.reason.sentence] if entry.reason else []), *(f"{flag.text}." for flag in flags)]
        if entry.representation is not None:
            special = entry.specialization_reason
            if special and special.code not in ("no_experts", *NOT_COMPARED):
                sentences.append(f"no specialization: {special.text}.")
            if entry.latency_reason and not common:
                sentences.append(f"no latency: {entry.latency_reason.text}.")
        found += [(shown_name(entry.variant), one_line(sentence)) for sentence in sentences]
    return (*found, *edges(rung))


def grouped(found: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Remarks with the rows that share a sentence on one line."""
    rows: dict[str, list[str]] = {}
    for name, sentence in found:
        rows.setdefault(sentence, []).append(name)
    return [(listed(names), sentence) for sentence, names in rows.items()]


def without_runs(rung: Rung) -> list[Entry]:
    """The rows of which nothing has run."""
    return [entry for entry in rung.entries if entry.reason and entry.reason.code == "not_run"]


def edges(rung: Rung) -> tuple[tuple[str, str], ...]:
    """(setting, sentence): of which rows the smallest or largest value tried is the best; the learning rate first."""
    rows: dict[str, dict[str, list[str]]] = {}
    for entry in rung.entries:
        for flag in entry.flags:
            if flag.code == "edge":
                task = flag.facts.get("on_task")
                where = f"{shown_name(entry.variant)}{f' ({task})' if task else ''}"
                rows.setdefault(flag.facts["name"], {}).setdefault(flag.facts["end"], []).append(where)
    found = []
    for name in sorted(rows, key=lambda name: (name != "lr", name)):
        parts = [f"the {end} value tried is the best of {listed(rows[name][end])}" for end in sorted(rows[name])]
        found.append((name, one_line(f"{'; '.join(parts)}; a better one may lie outside.")))
    return tuple(found)


def listed(names: Sequence[str], most: int = MOST_NAMES) -> str:
    """With commas; of many the first ones and how many more there are."""
    shown, more = ", ".join(names[:most]), len(names) - most
    return f"{shown} and {more:,} more" if more > 0 else shown


def specialization_note(rung: Rung) -> str:
    """Which rows' quotients can be compared; empty where no row has experts."""
    shown = [entry for entry in rung.entries if entry.selection_gain or entry.experts_gain]
    if not shown:
        return ""
    alike: dict[str, list[str]] = {}
    for entry in rung.entries:
        if entry.specialization is not None:
            alike.setdefault(entry.experts or "", []).append(shown_name(entry.variant))
    groups = "; ".join(f"{', '.join(rows[:MOST_NAMES])} ({experts})" for experts, rows in alike.items())
    return (
        "Specialization is selection gain over expert gain. It is compared among rows of as many experts, as many a "
        f"token, and no part that always acts: {groups or 'here no two rows are alike in this'}."
    )


def latency_note(board: Board, rung: Rung) -> str:
    """How latency was measured, or why no row has one."""
    if common := _common_latency_reason(rung):
        return f"Latency: {one_line(common.text)}."
    return (
        f"Latency: whole-model forward pass at batch {board.latency_batch} and at batch 1, of trained models; median "
        "over the rounds of a "
        "session in which all rows took turns; the ratio to dense is taken inside each round. Intervals of latency "
        "show how the rounds of that session scatter; another session may differ by more."
    )


def other_runs(board: Board) -> tuple[tuple[str, str], ...]:
    """(row, sentence) of finished runs that belong to another comparison: shown, not ranked, not mixed in."""
    return tuple(
        (
            shown_name(s.variant),
            one_line(
                f"not ranked: {counted_noun(s.runs, 'other run')} on {s.task}, mean {with_interval(s.score)}: "
                f"{s.reason.sentence}"
            ),
        )
        for s in board.other_runs
    )


def calibrated(board: Board) -> str:
    """What intervals and ranks do on simulated boards like this one; empty for one seed."""
    c = board.calibration
    if c is None:
        return ""
    return (
        f"Calibration, on simulated boards like this one ({counted_noun(c.seeds, 'seed')}, "
        f"{counted_noun(c.tasks, 'task')}, normal scores): {c.coverage:.1%} of the 95 % intervals hold the true "
        "difference; that of dense under another name "
        f"lies above dense {c.false_better:.1%} of the time; {c.familywise_error:.1%} of the boards of {c.rows} equal "
        f"rows at one budget have a significant difference in their ranks{_anything(c)}."
    )


def survival(rung: Rung) -> str:
    """How often ranks stay what they are under other draws of the trials; empty where fewer than two are known."""
    shares = [entry.rank_survival for entry in rung.entries if entry.rank_survival is not None]
    if len(shares) < 2:
        return ""
    ends = dict.fromkeys(f"{100 * share:.0f}" for share in (min(shares), max(shares)))
    return f"The printed ranks survive {' to '.join(ends)} % of resampled tunings."


def power(board: Board, rung: Rung) -> str:
    """How many seeds the smallest difference that matters needs; empty where no spread is known."""
    found = rung.power
    if found is None:
        return ""
    unit = board.tasks[0].unit
    if unit == "share":
        what = f"{100 * found.difference:.3g} points of {score_name(board)}"
    else:
        what = f"{found.difference:.3g} {unit}"
    return (
        f"Power: {what} need {_seeds(found.seeds)} to differ significantly on four of five boards, with the pooled "
        f"spread of the ranked rows and Holm's rule over {counted_noun(found.pairs, 'pair')}; the interval of one "
        f"difference alone needs {_seeds(found.seeds_alone)}. This board has {board.seeds}."
    )


def _seeds(seeds: int | None) -> str:
    return f"more than {MOST_SEEDS:,} seeds" if seeds is None else counted_noun(seeds, "seed")


def _anything(c: Calibration) -> str:
    """How often a whole board errs, where it has more than one ranking."""
    more = [counted_noun(c.budgets, "budget")] if c.budgets > 1 else []
    more += [counted_noun(c.references, "reference row")] if c.references else []
    if not more:
        return ""
    return f"; with {' and '.join(more)}, about {c.anything:.0%} have any significant difference"


def verified(board: Board) -> str:
    """The re-runs of a published board; empty without any."""
    v = board.verification
    if v is None:
        return ""
    how = f"chosen by the digest of the records{' and a word of the reviewer' if v.pick else ''}"
    exact = "all" if v.exact == v.rerun else str(v.exact)
    largest = "" if v.exact == v.agreed == v.rerun else f", the largest difference {v.largest:.3f}"
    return (
        f"Re-run, according to verification.json: {v.rerun} of {counted_noun(v.runs, 'training run')} on "
        f"{one_line(v.device)}, {how}; {v.agreed} of {v.rerun} agreed, {exact} of them to the last digit{largest}. "
        "Latency was not measured again."
    )


def _common_latency_reason(rung: Rung) -> Reason | None:
    """The reason that all rows with a result share for having no latency; None if any differs."""
    reasons = [entry.latency_reason for entry in rung.entries if entry.representation is not None]
    return reasons[0] if reasons and all(reason == reasons[0] for reason in reasons) else None


def pareto(rung: Rung) -> str:
    """The rows on the Pareto front, or nothing where it cannot be known."""
    places = {
        name: [shown_name(e.variant) for e in rung.entries if e.pareto == name] for name in ("front", "undecided")
    }
    if not any(places.values()):
        return ""
    named = ", ".join(places["front"]) or "no row for certain"
    perhaps = f"; perhaps {', '.join(places['undecided'])}" if places["undecided"] else ""
    return f"On the Pareto front of score, latency and active parameters: {named}{perhaps}."


def against(rung: Rung) -> tuple[str, ...]:
    """For dense and each reference row, which ranked rows are better than it, which worse, and which neither."""
    ranked = {entry.variant for entry in rung.entries if entry.rank}

    def names(rows: Sequence[str], than: str) -> str:
        if len(rows) > 1 and set(rows) == ranked - {than}:
            return "every other ranked row" if than in ranked else "every ranked row"
        return some(rung, rows) or "no ranked row"

    found = []
    for each in (*_against_dense(rung), *rung.against):
        parts = [f"Significantly better than {shown_name(each.reference)}: {names(each.better, each.reference)}"]
        parts += [f"significantly worse: {names(each.worse, each.reference)}"] if each.worse else []
        parts += [f"no significant difference: {names(each.level, each.reference)}"] if each.level else []
        found.append(f"{'; '.join(parts)}.")
    return tuple(found)


def _against_dense(rung: Rung) -> tuple[Against, ...]:
    """Dense among the ranked, as the ranks have it; nothing where it has no rank or stands alone."""
    others = [entry for entry in rung.entries if entry.rank and entry.variant != BASELINE]
    dense = next((entry for entry in rung.entries if entry.rank and entry.variant == BASELINE), None)
    if dense is None or not others:
        return ()
    better = tuple(entry.variant for entry in others if BASELINE in entry.better_than)
    level = tuple(e.variant for e in others if e.variant not in (*better, *dense.better_than))
    return (Against(reference=BASELINE, better=better, worse=dense.better_than, level=level),)


def better(rung: Rung) -> tuple[tuple[str, str], ...]:
    """(row, names) of the ranked rows that are significantly better than others, and which these are."""
    return tuple((shown_name(e.variant), some(rung, e.better_than)) for e in rung.entries if e.better_than)


def better_than(rung: Rung, entry: Entry) -> str:
    """The ranked rows that are significantly better than ``entry``; empty where none is."""
    return some(rung, [other.variant for other in rung.entries if entry.variant in other.better_than])


def some(rung: Rung, rows: Sequence[str]) -> str:
    """The rows in the board's order, of many the first ones and how many more there are; empty without any."""
    named = set(rows)
    names = [shown_name(entry.variant) for entry in rung.entries if entry.variant in named]
    return listed(names, MOST_NAMES if len(rung.entries) <= MANY_ROWS else FEW_NAMES)


def shared_settings(board: Board) -> list[tuple[str, str]]:
    """(name, value) of budget, effort, data, training, arithmetic, host and software; once where all tasks have the
    same.
    """
    facts = [("budget", amount(board, rung.budget)) for rung in board.rungs]
    facts += [
        ("tuning", f"{trials_said(board)}, {board.sampler} search"),
        ("training seeds", str(board.seeds)),
    ]
    for name, read in _OF_A_TASK.items():
        values = {task.label: read(task) for task in board.tasks}
        if len(set(values.values())) == 1:
            facts.append((name, next(iter(values.values()))))
        else:
            facts += [(f"{name}, {label}", value) for label, value in values.items()]
    software = ", ".join(f"{package} {version}" for package, version in board.versions.items())
    return [*facts, ("software", software)] if software else facts


def fact(value: object) -> str:
    """A setting, or several of them: ``vit, dim 64``."""
    if isinstance(value, Mapping):
        named = {**value, "name": without_digest(str(value["name"]))} if "name" in value else value
        return ", ".join(fact(item) if name == "name" else f"{name} {fact(item)}" for name, item in named.items())
    if isinstance(value, list | tuple):
        return " ".join(map(fact, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else setting(value)


def _data(task: TaskNote) -> str:
    known = task.shared_settings
    named = [("split", known.get("split")), ("digest", known.get("data_digest"))]
    facts = (task.label, *(f"{name} {value}" for name, value in named if value), scored(task))
    return ", ".join(filter(None, facts))


def _training(task: TaskNote) -> str:
    known = task.shared_settings
    micro = f" in micro-batches of {known['micro_batch']}" if known.get("micro_batch") else ""
    passes = f", {epochs(task)}" if task.epochs else ""
    return f"{known['steps']:,} steps of batch {known['batch']}{micro}{passes}"


def _arithmetic(task: TaskNote) -> str:
    threads = task.shared_settings["threads"]
    return f"{task.shared_settings['precision']}, {counted_noun(threads, 'thread')}"


_OF_A_TASK: Mapping[str, Callable[[TaskNote], Any]] = {
    "data": _data,
    "training": _training,
    "arithmetic": _arithmetic,
    "host": lambda task: fact(task.shared_settings["host"]),
}
