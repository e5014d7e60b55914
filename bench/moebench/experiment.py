"""An experiment from end to end: plan, train, measure, write MLflow as runs finish, make boards and report."""

from __future__ import annotations

import dataclasses
import math
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from moebench.board.build import build_board
from moebench.board.files import write_board
from moebench.board.model import Board
from moebench.errors import DataError, MoebenchError, UsageError
from moebench.frames import Frame
from moebench.mlflow_store.follower import Follower
from moebench.plans.cache import get_plan, plan_all
from moebench.plans.estimate import left, longest_guess
from moebench.plans.history import board_directory, remember, remember_plan, remembered_extras
from moebench.plans.plan import Plan
from moebench.plans.rows import BASELINE, OBJECT, by_others
from moebench.processes import warm_up
from moebench.records import Records, Store
from moebench.records.conformance import keep_conformance, read_conformance
from moebench.runner.executors import Executor, open_executor
from moebench.runner.options import RunOptions
from moebench.runner.progress import Progress
from moebench.runner.run_plan import Outcome, Unfinished, run_plan
from moebench.runner.stopping import Interrupted, Stop, listening
from moebench.studies import study_of
from moebench.studies.evidence import Part, part_left_out
from moebench.suites.request import Asked, Request
from moebench.training.ranks import check_shares

if TYPE_CHECKING:
    from moebench.contract import Variant

OnPlan = Callable[[Plan, int, Path], None]
"""Called with a suite's plan, the number of workers and the results directory, before it runs."""

NO_OBJECTS: Mapping[str, Variant] = {}


@dataclass(frozen=True)
class ExperimentResult:
    """What a run left: a plan for each suite, as it grew; boards, and where their pages are; the report's page; what is
    not done, and where its errors were raised, by label; and warnings.
    """

    plans: tuple[Plan, ...]
    boards: tuple[tuple[Board, Path], ...]
    report: Path | None
    unfinished: tuple[Unfinished, ...]
    warnings: tuple[str, ...]
    frames: Mapping[str, Sequence[Frame]] = field(default_factory=dict)

    @property
    def board(self) -> Board:
        """The board of the only suite that has one."""
        ((board, _),) = self.boards
        return board


def prepare(asked: Asked, results: Path, *, writes: bool = True) -> tuple[Request, ...]:
    """Check what can be checked before anything runs, and add the rows of earlier runs. ``writes`` results: whether a
    directory that cannot be written is refused.
    """
    study_of(asked.experiment)
    if writes:
        Store(results).prepare()
    return tuple(_with_extras(request, results) for request in asked.requests)


def _with_extras(request: Request, results: Path) -> Request:
    if request.suite.tuning is None:
        return request
    earlier = remembered_extras(results, request.suite.name)
    return dataclasses.replace(request, extras=tuple(spec for spec in earlier if spec not in request.variants))


def run_experiment(
    asked: Asked,
    how: RunOptions,
    progress: Progress,
    *,
    on_plan: OnPlan | None = None,
    objects: Mapping[str, Variant] = NO_OBJECTS,
) -> ExperimentResult:
    """Run what is missing of every suite, make its board, and the report of the study.

    All suites are planned before any of them runs, which finds missing data sets; an optional part without its data is
    left out with a warning. ``objects`` are variants given as Python objects, by name.
    """
    until = math.inf if how.seconds is None else time.monotonic() + how.seconds
    _check(asked, how)
    requests = prepare(asked, how.results)
    executor = open_executor(how, max(request.suite.training.threads for request in requests))
    try:
        requests = tuple(dataclasses.replace(each, place=executor.place(each.device)) for each in requests)
        plans, left_out = plan_all(requests, lambda request: _plan(request, how.results, objects))
        workers = executor.fit(plans[0].device["torch"], max(map(longest_guess, plans)))
        requests = tuple(request for request in requests if request.suite.name not in left_out)
        return _ExperimentRun(
            asked, how, progress, executor, workers, objects, Store(how.results), left_out, until
        ).run(requests, plans, on_plan)
    finally:
        executor.close()


def _without_comparison(plan: Plan, request: Request) -> Plan:
    """The plan without dense where none of the rows that were asked for can run: it would be compared with nothing."""
    asked_for = [row for row in plan.rows if row.selected and row.name != BASELINE]
    unusable = plan.unusable()
    if not request.variants or not asked_for or any(row.spec not in unusable for row in asked_for):
        return plan
    return dataclasses.replace(plan, rows=tuple(dataclasses.replace(row, selected=False) for row in plan.rows))


def _check(asked: Asked, how: RunOptions) -> None:
    """:class:`UsageError` for options that do not fit the experiment."""
    called, suites = asked.experiment.called, [request.suite for request in asked.requests]
    if not how.save_weights and any(suite.measure for suite in suites):
        raise UsageError(
            f"suite '{called}' measures the trained models; leave --no-weights out.", code="needs-weights", suite=called
        )
    for suite in suites:
        if suite.row and how.ranks > 1:
            raise UsageError(
                f"suite '{called}' compares small models, a process each; leave --ranks out.",
                code="takes-no-ranks",
                suite=called,
            )
        for entry in suite.task:
            training = suite.training_of(entry)
            check_shares(training.batch, training.micro_batch, how.ranks)


def _plan(request: Request, results: Path, objects: Mapping[str, Variant]) -> Plan:
    if not objects:
        # While the plan is made, the fork server imports what the workers need.
        return get_plan(request, results, on_miss=warm_up)
    from moebench.plans.make import make_plan

    return make_plan(request, objects)


@dataclass(frozen=True)
class _ExperimentRun:
    asked: Asked
    how: RunOptions
    progress: Progress
    executor: Executor
    workers: int
    objects: Mapping[str, Variant]
    store: Store
    left_out: Mapping[str, DataError]
    until: float

    def run(self, requests: Sequence[Request], plans: list[Plan], on_plan: OnPlan | None) -> ExperimentResult:
        results = self.how.results
        # Reading first sets damaged records aside, which becomes a warning.
        missing = any(left(plan, Records(self.store)).runs for plan in plans)
        boards, unfinished = list[tuple[Board, Path]](), list[Unfinished]()
        frames = dict[str, Sequence[Frame]]()
        warnings = [left_out_said(name, error) for name, error in self.left_out.items()]
        with Follower(results, plans) as follower:
            if self.how.mlflow and missing:
                follower.start()
            for index, (request, plan) in enumerate(zip(requests, plans, strict=True)):
                if on_plan:
                    on_plan(plan, self.workers, results)
                if request.suite.tuning is not None:
                    if self.how.check:
                        plan = self._checked(plan)
                    remember(request, results, self.objects, unusable=plan.unusable())
                    remember_plan(plan, results)
                outcome = self._trained(_without_comparison(plan, request), plans, follower)
                plans[index] = dataclasses.replace(outcome.plan, rows=plan.rows)
                unfinished += (*outcome.unfinished, *plan.cannot_run())
                frames |= {**plan.frames(), **outcome.frames}
                warnings += outcome.noted
                if request.suite.tuning is not None:
                    boards.append(self._board(outcome.plan))
            report = self._report(plans, warnings)
            if self.how.mlflow:
                follower.finish(plans, report)
        warnings = [*_damaged(self.store), *warnings, *filter(None, [follower.problem])]
        return ExperimentResult(tuple(plans), tuple(boards), report, tuple(unfinished), tuple(warnings), frames)

    def _checked(self, plan: Plan) -> Plan:
        """Keep how many checks the selected rows of other authors hold, where that is not known of their code; not of
        rows that cannot run. A row whose checks do not come back cannot run either: training it would not.
        """
        known, pickled = read_conformance(self.store.root), self._pickled()
        runs, stopped = {group.row for group in plan.groups if not group.broken}, dict[str, str]()
        for row in by_others(plan.rows):
            if not row.selected or row.name not in runs:
                continue
            found = known.get(row.code_digest)
            if found is None or found.stopped:
                from moebench.checks.run import run_checks  # which imports torch

                variant = self.objects[row.name] if row.spec == OBJECT else row.spec
                found = run_checks(variant, pickled=pickled.get(row.name)).conformance
                keep_conformance(self.store.root, row.code_digest, found)
            if found.stopped:
                stopped[row.name] = found.stopped
        groups = (
            dataclasses.replace(group, problem=stopped[group.row], broken=True) if group.row in stopped else group
            for group in plan.groups
        )
        return dataclasses.replace(plan, groups=tuple(groups)) if stopped else plan

    def _trained(self, plan: Plan, plans: Sequence[Plan], follower: Follower) -> Outcome:
        """One suite, trained and measured; :class:`Interrupted` if it was stopped."""
        total = plan.expected_runs() + plan.sessions
        rest = left(plan, Records(self.store)).runs
        self.progress.start(total, total - rest, self.workers)
        try:
            with listening() as stop:
                outcome = run_plan(
                    plan,
                    self.how,
                    self.executor,
                    self.progress,
                    stop,
                    pickled=self._pickled(),
                    on_record=follower.record,
                    before_alone=follower.flush,
                    until=self.until,
                )
        finally:
            self.progress.stop()
        if stop:
            raise self._interrupted(plans, stop)
        return outcome

    def _pickled(self) -> dict[str, bytes]:
        if not self.objects:
            return {}
        import cloudpickle

        return {name: cloudpickle.dumps(variant) for name, variant in self.objects.items()}

    def _interrupted(self, plans: Sequence[Plan], stop: Stop) -> Interrupted:
        lookup = Records(self.store)
        total = sum(plan.expected_runs() + plan.sessions for plan in plans)
        done = total - sum(left(plan, lookup).runs for plan in plans)
        return Interrupted(
            f"stopped: {done} of {total} runs are done, and those under way kept checkpoints; the same command goes on "
            f"from here (`moebench plan {shlex.quote(self.asked.experiment.called)}` lists what is left).",
            stop.signum,
        )

    def _board(self, plan: Plan) -> tuple[Board, Path]:
        others = partial(self.store.finals_of, plan.suite.name)
        board = build_board(plan, Records(self.store), others, read_conformance(self.store.root))
        pages = board_directory(self.how.results, plan.suite.name, plan.protocol)
        write_board(board, pages)
        return board, pages

    def _report(self, plans: Sequence[Plan], warnings: list[str]) -> Path | None:
        """The page of an experiment with a study; a warning if it cannot be written."""
        if study_of(self.asked.experiment) is None:
            return None
        from moebench.studies.write import write_report

        try:
            return write_report(self.asked.experiment, self._sources(plans), self.how.results)
        except MoebenchError as error:
            warnings.append(f"no report: {error}")
            return None

    def _sources(self, plans: Sequence[Plan]) -> list[Plan | Part]:
        """What a report is made of: a plan, or a part without runs, for each suite in the order of the experiment."""
        of = {plan.suite.name: plan for plan in plans}
        return [
            of.get(each.suite.name) or part_left_out(each, self.left_out[each.suite.name])
            for each in self.asked.requests
        ]


def left_out_said(name: str, error: DataError) -> str:
    """That an optional part is left out, and why."""
    return f"part '{name}' is left out: {error}"


def _damaged(store: Store) -> list[str]:
    if not store.damaged:
        return []
    names = ", ".join(str(path) for path in store.damaged)
    return [f"{len(store.damaged)} damaged record(s) were set aside and their runs done again: {names}."]
