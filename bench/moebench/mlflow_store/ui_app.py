"""MLflow's own server with a few addresses more, for ``moebench ui``: the boards, and the run of a record.

    /moebench/                        the boards of the results directory
    /moebench/board/<suite>/board.html   one of them
    /moebench/run/<identity>          MLflow's page of the run of a record
    /moebench/mlflow                  MLflow's list of experiments, in a browser that is told to show training runs
    /moebench/mlflow/<suite>          a suite's experiment as its leaderboard; one alone has the address above, too

MLflow finds it by the entry-point group ``mlflow.app`` and runs it in its own process, behind its own checks.
"""

from __future__ import annotations

import html
import json
import os
import re
from pathlib import Path
from urllib.parse import quote

from mlflow import MlflowClient
from mlflow.server.constants import BACKEND_STORE_URI_ENV_VAR
from mlflow.server.fastapi_app import app
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from moebench.mlflow_store.database import AS_TRAINING, UI_RESULTS
from moebench.mlflow_store.views import SHARED_VIEW, leaderboard_address
from moebench.plans.history import board_pages

__all__ = ["app"]

BOARD = re.compile(r"board\.(html|json|md|csv)|report\.html")
"""Files that are served; nothing else of the results directory is."""


def _results() -> Path:
    return Path(os.environ[UI_RESULTS]).resolve()


async def _index(request: Request) -> Response:
    root = _results()
    pages = [path.relative_to(root).as_posix() for path in board_pages(root)]
    items = "".join(_item(page) for page in pages)
    return _page("moebench boards", f'<h1>Boards</h1><ul>{items}</ul><p><a href="mlflow">MLflow</a></p>')


def _item(page: str) -> str:
    suite = os.fsencode(page.partition("/")[0])
    beside = f'<a href="mlflow/{quote(suite)}">in MLflow</a>'
    return f'<li><a href="board/{quote(os.fsencode(page))}">{_shown(page)}</a> ({beside})</li>'


async def _board(request: Request) -> Response:
    path = _board_file(_results(), request.path_params["path"])
    return _missing("There is no such board here.") if path is None else FileResponse(path)


def _board_file(root: Path, asked: str) -> Path | None:
    """The file of a board's address; None where there is none, or where nothing can have that address."""
    try:
        path = (root / asked).resolve()
        known = path.is_relative_to(root) and BOARD.fullmatch(path.name) and path.is_file()
        return path if known and os.access(path, os.R_OK) else None
    except (OSError, ValueError, RuntimeError):  # bytes, lengths and links that no path has
        return None


def _shown(page: str) -> str:
    """A path as text; its bytes may be none."""
    return html.escape(page.encode(errors="replace").decode())


async def _run(request: Request) -> Response:
    identity = request.path_params["identity"]
    if not re.fullmatch(r"[0-9a-f]{20}", identity):
        return _missing("A record's identity has twenty hexadecimal digits.")
    place = await run_in_threadpool(find_run, identity)
    if place is None:
        return _missing(f"MLflow has no run of the record {identity}; `moebench sync` writes those that it lacks.")
    return RedirectResponse(place)


TRAINING_VIEW = """<script>
try {
  localStorage.setItem("mlflow.workflowType_v1", JSON.stringify("machine_learning"));
  localStorage.setItem("mlflow.assistant.panelOpen_v1", "false");
  localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true");
} catch {}
location.replace(%s);
</script>"""
"""Without it an experiment opens on its traces, of which there are none, behind a panel that says what traces are."""


async def _mlflow(request: Request) -> Response:
    suite = request.path_params.get("suite")
    known = await run_in_threadpool(find_leaderboards)
    if suite is not None and suite not in known:
        return _missing("MLflow has no leaderboard of this suite; `moebench sync` writes those that it lacks.")
    only = next(iter(known)) if len(known) == 1 else ""
    experiment = known.get(suite or only)
    place = leaderboard_address(experiment) if experiment else f"/#/experiments?{AS_TRAINING}"
    return _page("MLflow", TRAINING_VIEW % json.dumps(place))


async def _other(request: Request) -> Response:
    return _missing("There is no such page.")


def _missing(sentence: str) -> Response:
    return _page("moebench", f"<p>{html.escape(sentence)}</p>", 404)


def _page(title: str, body: str, status: int = 200) -> Response:
    head = f'<meta charset="utf-8"><link rel="icon" href="data:,"><title>{title}</title>'
    return HTMLResponse(f'<!doctype html><html lang="en">{head}<body>{body}</body></html>', status_code=status)


# Before MLflow's routes, the last of which takes every address.
app.router.routes[:0] = [
    Route("/moebench/", _index),
    Route("/moebench/board/{path:path}", _board),
    Route("/moebench/run/{identity:path}", _run),
    Route("/moebench/mlflow", _mlflow),
    Route("/moebench/mlflow/{suite:path}", _mlflow),
    Route("/moebench/{other:path}", _other),
]


def find_leaderboards() -> dict[str, str]:
    """By suite the id of its newest experiment that has a board, in the server's own store."""
    found = _client().search_experiments(filter_string="name LIKE 'moebench/%'", order_by=["creation_time ASC"])
    return {each.tags["moebench.suite"]: each.experiment_id for each in found if SHARED_VIEW in each.tags}


def find_run(identity: str) -> str | None:
    """The address of the newest run with that identity in the server's own store; None where there is none."""
    client = _client()
    experiments = [each.experiment_id for each in client.search_experiments(filter_string="name LIKE 'moebench/%'")]
    if not experiments:
        return None
    found = client.search_runs(experiments, filter_string=f"tags.`moebench.identity` = '{identity}'", max_results=1)
    run = next(iter(found), None)
    if run is None:
        return None
    return f"/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}?{AS_TRAINING}"


def _client() -> MlflowClient:
    return MlflowClient(tracking_uri=os.environ[BACKEND_STORE_URI_ENV_VAR])
