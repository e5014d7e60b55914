"""One finalist of a latency session, in a process of its own: builds its model, then measures on request."""

from __future__ import annotations

from multiprocessing.connection import Connection
from typing import Any

import torch

from moebench.measures.scores.timing import Stopwatch
from moebench.plugins.named import remember
from moebench.processes import keep_freed_memory
from moebench.records import Store
from moebench.runner.job import NO_WEIGHTS, Job
from moebench.runner.model import build
from moebench.runner.outcomes import status_of
from moebench.runner.weights import load_weights
from moebench.tasks import get_task, load_part
from moebench.training.device import software_of, use


def serve(job: Job, batch: int, repeats: int, pipe: Connection) -> None:
    """Answer each "measure" with a round of medians, until the pipe closes. The first answer describes the model."""
    try:
        stopwatch, about = _prepare(job, batch, repeats)
        pipe.send(about)
        while stopwatch is not None and pipe.recv() == "measure":
            pipe.send(stopwatch.measure())
    except EOFError:
        return
    except Exception as error:
        pipe.send({"problem": status_of(error)[1]})


def _prepare(job: Job, batch: int, repeats: int) -> tuple[Stopwatch | None, dict[str, Any]]:
    """None for a model without trained weights, which is not timed."""
    remember(job.plugins)
    device = torch.device(job.device)
    torch.set_num_threads(job.cell.threads)
    keep_freed_memory()
    use(device, job.cell.precision)
    torch.manual_seed(0)
    store = Store(job.results)
    model = build(job, device, store).model
    # Routing depends on the weights, and time on routing.
    if not load_weights(model, store, job.cell.identity, device):
        return None, {"weights": NO_WEIGHTS}
    task = get_task(job.cell.task)
    data = load_part(task, "validation", job.data)[:batch].to(device)
    stopwatch = Stopwatch(model, data, task.loss, batch, job.cell.precision, repeats)
    memory = stopwatch.memory()
    stopwatch.warm_up()
    return stopwatch, {"weights": "final", **memory, **stopwatch.about(), "software": software_of(device)}
