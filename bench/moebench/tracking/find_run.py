"""Where MLflow's UI shows the run of a record."""

from __future__ import annotations

import os

from moebench.tracking.store_uri import AS_TRAINING


def find_run(identity: str) -> str | None:
    """The address of the newest run with that identity in the server's own store; None where there is none."""
    from mlflow import MlflowClient
    from mlflow.server.constants import BACKEND_STORE_URI_ENV_VAR

    client = MlflowClient(tracking_uri=os.environ[BACKEND_STORE_URI_ENV_VAR])
    experiments = [each.experiment_id for each in client.search_experiments(filter_string="name LIKE 'moebench/%'")]
    if not experiments:
        return None
    found = client.search_runs(experiments, filter_string=f"tags.`moebench.identity` = '{identity}'", max_results=1)
    run = next(iter(found), None)
    if run is None:
        return None
    return f"/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}?{AS_TRAINING}"
