"""How MLflow's UI shows an experiment to whoever follows a link of moebench: as the leaderboard."""

from __future__ import annotations

import json

from moebench.mlflow_store.database import AS_TRAINING, VIEW
from moebench.plans.plan import Plan

SHARED_VIEW = f"mlflow.sharedViewState.{VIEW}"
"""The tag of an experiment that holds what a link with the key ``VIEW`` shows; as MLflow 3.17 writes and reads it."""

FIRST, LAST = ("1", "attributes.`Run Name`"), ("runDateAndNestInfo", "duration")
"""Columns that MLflow's table always has, by its names for them: a box to tick and the name; when, and how long."""


def shared_view(plan: Plan) -> str:
    """Studies alone, the best first, with the columns of the board. Other columns and runs are a click away."""
    headlines = {group.headline.name: group.headline for group in plan.groups}
    scores = [f"metrics.`test_{name}`" for name in headlines]
    beside = [f"metrics.`{name}`" for name in ("specialization", "forward_ms", "active_params")]
    columns = [*scores, *beside, "params.`budget`"]
    state = {
        "searchFilter": 'tags.`moebench.kind` = "study"',
        "orderByKey": scores[0],
        "orderByAsc": not next(iter(headlines.values())).higher_is_better,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": columns,
        "columnOrder": [*FIRST, *columns, *LAST],
    }
    return json.dumps(state)


def leaderboard_address(experiment: str) -> str:
    """Of the experiment of that id, on MLflow's server."""
    return f"/#/experiments/{experiment}/runs?viewStateShareKey={VIEW}&{AS_TRAINING}"
