"""Plans and records made by hand: real objects in a real store, without a single training step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from moebench.board.build import build_board
from moebench.board.model import Board
from moebench.plans.latency import latency_cells
from moebench.plans.plan import Group, Plan
from moebench.plans.rows import Row
from moebench.records import Cell, Record, Store
from moebench.suites.load import parse_suite

DEVICE = "cpu (a test's processor)"
VERSIONS = {"python": "3.11.7", "torch": "2.14.1", "moebench": "0.1.0"}
BUDGET = 264_000
SPACE = {
    "experts": {"options": (8, 16), "default": 8},
    "lr": {"low": 1e-3, "high": 1e-2, "default": 3e-3, "log": True},
    "weight_decay": {"low": 1e-3, "high": 0.3, "default": 0.05, "log": True},
}
SHARED = (
    {"lr": 3e-3, "weight_decay": 0.05},
    {"lr": 4e-3, "weight_decay": 0.02},
    {"lr": 2e-3, "weight_decay": 0.1},
    {"lr": 5e-3, "weight_decay": 0.01},
)
CURVE = {"steps": [100, 200, 300, 400], "train_loss": [2.0, 1.0, 0.5, 0.25], "validation_loss": [1.8, 0.9, 0.6, 0.5]}
HOSTILE = "@all <script>alert(1)</script>|`rm`[x](javascript:y)\x1b[31m\n# big"
HOSTILE_ADDRESS = "https://x'\"><script>alert(1)</script>"
EXPERTS_PER_TOKEN = {"dense": 0.0, "soft_moe": 8.0}
ACTIVE = {"dense": 264_000, "soft_moe": 264_000, "sparse_topk": 66_000}

Change = Callable[[dict[str, Any]], dict[str, Any]]


def hand_plan(
    *,
    variants: Sequence[str] = ("dense", "soft_moe", "sparse_topk"),
    references: Sequence[tuple[str, str]] = (),
    tasks: Sequence[str] = ("digits",),
    budgets: Sequence[int] = (BUDGET,),
    seeds: int = 3,
    trials: int = 4,
    axis: str = "total",
    sampler: str = "random",
    problems: dict[str, str] | None = None,
    group_problems: dict[tuple[str, str], str] | None = None,
) -> Plan:
    """A plan as ``make_plan`` gives it. ``problems`` by row, ``group_problems`` by row and task."""
    suite = parse_suite(
        {
            "name": "tiny",
            "title": "A board made by hand",
            "axis": axis,
            "budgets": list(budgets),
            "seeds": seeds,
            "variants": list(variants),
            "reference": [{"name": name, "variant": name, "note": note} for name, note in references],
            "task": [{"name": task} for task in tasks],
            "host": {"name": "vit", "dim": 64, "depth": 2, "heads": 4, "patch": 2},
            "training": {"steps": 400, "batch": 64},
            "tuning": {
                "trials": trials,
                "sampler": sampler,
                "lr": {"low": 1e-3, "high": 1e-2, "default": 3e-3},
                "weight_decay": {"low": 1e-3, "high": 0.3, "default": 0.05},
            },
        },
        "tiny.toml",
    )
    broken, unreachable = problems or {}, group_problems or {}
    rows = [Row(name, name, name, "c0de", problem=broken.get(name, "")) for name in variants]
    rows += [
        Row(name, name, name, "c0de", reference=True, note=note, problem=broken.get(name, ""))
        for name, note in references
    ]
    return Plan(
        suite=suite,
        protocol="1",
        device={"type": "cpu", "name": DEVICE, "torch": "cpu"},
        backend=None,
        data=None,
        rows=tuple(rows),
        groups=tuple(
            _group(row, task, budget, seeds, trials, axis, unreachable.get((row.name, task), ""))
            for row in rows
            if not row.problem
            for task in tasks
            for budget in budgets
        ),
    )


class Bench:
    """A suite with its plan, and a store to put records into."""

    def __init__(self, root: Path, plan: Plan | None = None, **options: Any) -> None:
        self.plan = plan or hand_plan(**options)
        self.store = Store(root)
        self.store.prepare()

    def board(self) -> Board:
        """The board of the records there are."""
        return build_board(self.plan, self.store.get)

    def group(self, row: str, task: str = "digits", budget: int | None = None) -> Group:
        """The study of a row."""
        budget = budget or self.plan.suite.budgets[0]
        return next(g for g in self.plan.groups if (g.row, g.task, g.budget) == (row, task, budget))

    def tune(self, row: str, validation: Sequence[float] = (0.90, 0.95, 0.93, 0.94), **where: Any) -> None:
        """Write every trial; the second wins unless said otherwise."""
        for cell, accuracy in zip(self.group(row, **where).trial_cells, validation, strict=False):
            scores = {"validation_accuracy": accuracy, "validation_loss_nats": 1 - accuracy}
            self.put(cell, row, scores={"validation_mse": accuracy} if cell.task == "norm" else scores)

    def finish(
        self,
        row: str,
        accuracies: Sequence[float],
        specialization: float | Sequence[float | None] | None = 0.25,
        reason: str = "no experts",
        change: Change = lambda fields: fields,
        **where: Any,
    ) -> None:
        """Write every final run; ``change`` edits the fields of each record before it is written."""
        group = self.group(row, **where)
        cells = group.final_cells(self.store.get)
        special = specialization if isinstance(specialization, Sequence) else [specialization] * len(cells)
        for cell, accuracy, value in zip(cells, accuracies, special, strict=True):
            fields = {
                "scores": _final_scores(accuracy, value),
                "reasons": {} if value is not None else {"specialization": reason},
                "counts": _counts(row, group.amount),
                "details": {
                    "train_seconds": 2.0,
                    "inputs_per_second": 12_800.0,
                    "peak_memory_mib": 120.5,
                    "train_inputs": 1078,
                    "curve": CURVE,
                },
            }
            self.put(cell, row, **change(fields))

    def fill(self, row: str, accuracies: Sequence[float], **more: Any) -> None:
        """Trials and finals of a row at one budget and task."""
        where = {name: more[name] for name in ("task", "budget") if name in more}
        self.tune(row, **where)
        self.finish(row, accuracies, **more)

    def put(self, cell: Cell, row: str, *, status: str = "done", **fields: Any) -> Record:
        """Write one record."""
        provenance = {
            "device": self.plan.device["name"],
            "device_type": "cpu",
            "versions": VERSIONS,
            "backend": "auto",
            "suite": "tiny",
            "row": row,
            "started": "2026-11-22T03:14:00+00:00",
            "seconds": 2.5,
            "machine": "a test's processor",
        }
        provenance |= fields.pop("provenance", {})
        record = Record(identity=cell.identity, cell=cell.to_json(), status=status, provenance=provenance, **fields)
        self.store.put(record)
        return record

    def time(
        self,
        forward: dict[str, float],
        *,
        task: str = "digits",
        budget: int | None = None,
        change: Callable[[str, dict[str, Any]], dict[str, Any]] = lambda row, result: result,
        **fields: Any,
    ) -> None:
        """Write the latency session of a task: twelve rounds around ``forward[row]`` milliseconds.

        Machine noise is shared by the rows of a round, so ratios are steadier than times.
        """
        amount = budget or self.plan.suite.budgets[0]
        cells = latency_cells(self.plan, self.store.get)
        (cell,) = [cell for cell in cells if (cell.task, cell.budget) == (task, amount)]
        rows = {self._row_of(identity): identity for identity in cell.session["finalists"]}
        finalists = {
            identity: change(row, _timed(row, forward[row])) for row, identity in rows.items() if row in forward
        }
        self.put(cell, "", **{"details": {"finalists": finalists}, **fields})

    def _row_of(self, identity: str) -> str:
        record = self.store.get(identity)
        assert record is not None
        return str(record.provenance["row"])


def small_board(root: Path, **options: Any) -> Bench:
    """soft_moe ahead of dense ahead of sparse_topk, a reference row, everything timed."""
    bench = Bench(root, references=[("random_router", "frozen random router")], **options)
    bench.fill("dense", (0.965, 0.967, 0.965), specialization=None)
    bench.fill("soft_moe", (0.975, 0.977, 0.977), specialization=(0.22, 0.20, 0.25))
    bench.fill("sparse_topk", (0.942, 0.944, 0.942), specialization=(0.31, 0.30, 0.35))
    bench.fill("random_router", (0.912, 0.914, 0.912), specialization=(0.12, 0.11, 0.10))
    bench.time({"dense": 1.9, "soft_moe": 1.31, "sparse_topk": 2.44, "random_router": 2.4})
    return bench


def renamed(bench: Bench, row: str, name: str) -> Plan:
    """The plan with another name for one row; its records stay, for identities do not hold the row's name."""
    rows = tuple(dataclasses.replace(r, name=name) if r.name == row else r for r in bench.plan.rows)
    groups = tuple(dataclasses.replace(g, row=name) if g.row == row else g for g in bench.plan.groups)
    return dataclasses.replace(bench.plan, rows=rows, groups=groups)


def hostile_board(root: Path) -> Board:
    """Every text that a stranger can choose holds markup."""
    bench = small_board(root)
    for cell in bench.group("sparse_topk").final_cells(bench.store.get)[:1]:
        bench.put(cell, "sparse_topk", status="error", reason=HOSTILE)
    plan = renamed(bench, "soft_moe", HOSTILE)
    links = {"spec": "strangers", "author": HOSTILE, "paper": HOSTILE_ADDRESS, "code": "javascript:alert(1)"}
    texts = {True: {"note": HOSTILE}, False: links}
    rows = tuple(
        dataclasses.replace(row, **texts[row.reference]) if row.reference or row.name == HOSTILE else row
        for row in plan.rows
    )
    suite = plan.suite.model_copy(update={"title": HOSTILE})
    return build_board(dataclasses.replace(plan, rows=rows, suite=suite), bench.store.get)


def _group(row: Row, task: str, budget: int, seeds: int, trials: int, axis: str, problem: str) -> Group:
    template = {
        "protocol": "1",
        "task": task,
        "data_digest": "da7a",
        "split": "1078/359/360 by seed 0",
        "host": {"name": "vit", "dim": 64, "depth": 2},
        "axis": axis,
        "steps": 400,
        "batch": 64,
        "micro_batch": None,
        "precision": "fp32",
        "threads": 1,
        "variant": row.variant,
        "code_digest": row.code_digest,
        "budget": budget,
    }
    if problem:
        return Group(row.name, task, budget, budget, template, problem=problem)
    own = {} if row.name == "dense" else {"experts": 8}
    return Group(
        row=row.name,
        task=task,
        budget=budget,
        amount=budget,
        template=template,
        trials=tuple({**own, **shared} for shared in SHARED[:trials]),
        trial_seeds=tuple(range(100, 100 + trials)),
        final_seeds=tuple(range(200, 200 + seeds)),
        space=SPACE,
        shared=SHARED[:trials],
    )


def _final_scores(accuracy: float, specialization: float | None) -> dict[str, float | None]:
    scores: dict[str, float | None] = {
        "validation_accuracy": accuracy - 0.001,
        "validation_loss_nats": 0.1,
        "test_accuracy": accuracy,
        "test_loss_nats": 1.1 - accuracy,
        "specialization": specialization,
    }
    if specialization is not None:
        scores |= {"accuracy_all_experts": accuracy, "accuracy_no_experts": 0.15, "load_entropy": 0.97}
        gain = accuracy - 0.15
        scores |= {"experts_gain": gain, "selection_gain": specialization * gain, "always_on_share": 0.0}
        for share, part in (("1_8", 0.6), ("1_4", 0.8), ("1_2", 0.95)):
            scores |= {
                f"accuracy_selected_{share}": accuracy * part,
                f"accuracy_static_{share}": accuracy * part - specialization,
                f"accuracy_random_{share}": accuracy * part / 2,
                f"retained_{share}": part,
                f"mass_kept_{share}": part - 0.1,
            }
    return scores


def _counts(row: str, budget: int) -> dict[str, Any]:
    active = ACTIVE.get(row, 66_000)
    return {
        "sizes": [128, 128],
        "total_params": budget,
        "active_params": active,
        "trainable_params": budget,
        "model_params": budget + 36_000,
        "flops_per_input": active * 32,
        "dense_flops_per_input": budget * 32,
        "budget_error": 0.0004,
        "experts": [0, 0] if row == "dense" else [8, 8],
        "experts_per_token": [EXPERTS_PER_TOKEN.get(row, 2.0)] * 2,
        "layers": [{"dim": 64, "out_dim": 64, "tokens": 16}] * 2,
    }


def _timed(row: str, milliseconds: float) -> dict[str, Any]:
    noise = [1.0, 1.02, 0.99, 1.05, 1.01, 0.98, 1.03, 1.0, 1.04, 0.97, 1.01, 1.02]
    own = [0.002 * ((index + len(row)) % 3) for index in range(len(noise))]
    forward = [milliseconds * (shared + wobble) for shared, wobble in zip(noise, own, strict=True)]
    return {
        "row": row,
        "weights": "final",
        "peak_memory_mib": 10.25,
        "resident_memory_mib": 30.5,
        "resident_memory_batch1_mib": 20.75,
        "forward_ms": forward,
        "forward_batch1_ms": [time / (8 if row == "dense" else 3) for time in forward],
        "train_step_ms": [time * 3 for time in forward],
        "layers_ms": [time / 2 for time in forward],
    }
