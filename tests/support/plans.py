"""Small plans of real variants on the digits, and records made by hand for their cells."""

from __future__ import annotations

import copy

from moebench.plans.make import make_plan
from moebench.records import Record
from moebench.suites.load import parse_suite
from moebench.suites.request import Request, request_for

BUDGET = 50_000
VALUES = {
    "name": "mine",
    "title": "A small board",
    "budgets": [BUDGET],
    "seeds": 2,
    "variants": ["dense", "soft_moe", "sparse_topk"],
    "reference": [
        {"name": "dense_active", "variant": "dense", "active_of": "sparse_topk", "note": "active parameters"},
        {"name": "random_router", "variant": "random_router", "note": "frozen"},
    ],
    "task": [{"name": "digits"}],
    "host": {"name": "vit", "dim": 16, "depth": 2, "heads": 2, "patch": 4},
    "training": {"steps": 10, "batch": 8},
    "tuning": {
        "trials": 4,
        "lr": {"low": 1e-3, "high": 1e-1, "default": 1e-2},
        "weight_decay": {"low": 1e-3, "high": 0.3, "default": 0.05},
    },
    "space": {name: {"experts": [8, 16]} for name in ("soft_moe", "sparse_topk", "random_router")},
}


ALONE = {"variants": ["dense"], "reference": [], "space": {}}
"""Dense alone: the least that makes a plan."""


def a_suite(**changes):
    """The small suite; changes replace its tables, those of tuning are merged."""
    values = copy.deepcopy(VALUES)
    values["tuning"] |= changes.pop("tuning", {})
    return parse_suite(values | changes, "mine.toml")


def a_request(chosen=(), /, *, suite=None, **changes):
    """``chosen`` are the rows to run; ``changes`` those of the request, else those of the suite."""
    fields = set(Request.__dataclass_fields__) - {"variants", "suite", "protocol", "named"}
    asked = {name: changes.pop(name) for name in tuple(changes) if name in fields}
    return request_for(suite or a_suite(**changes), variants=tuple(chosen), **asked)


def a_plan(chosen=(), /, objects=None, **changes):
    return make_plan(a_request(chosen, **changes), objects)


def group_of(plan, row, budget=None):
    (group,) = (g for g in plan.groups_of(row) if budget in (None, g.budget))
    return group


class Records(dict):
    """Records by identity; called, it is what plans look up."""

    def __call__(self, identity):
        return self.get(identity)

    def settle(self, cell, accuracy=0.9, loss=0.1, status="done", seconds=3.0):
        scores = {"validation_accuracy": accuracy, "validation_loss_nats": loss} if status == "done" else {}
        self[cell.identity] = Record(
            identity=cell.identity,
            cell=cell.to_json(),
            status=status,
            reason="" if status == "done" else "because",
            scores=scores,
            provenance={"seconds": seconds},
        )
        return self[cell.identity]

    def settle_all(self, plan, rows=None, **scores):
        """Every trial, then every final of the winners."""
        for group in plan.groups:
            if rows is None or group.row in rows:
                for cell in (*group.trial_cells, *group.final_cells(self)):
                    self.settle(cell, **scores)
                for cell in group.final_cells(self):
                    self.settle(cell, **scores)
        return self
