"""Tasks by name or by file."""

from __future__ import annotations

from functools import cache

from moebench.errors import PluginError
from moebench.plugins import named
from moebench.plugins.find import TASKS
from moebench.tasks.base import Task, TaskInfo


@cache
def get_task(name: str) -> Task:
    """The task of a name, or of ``path.py:Name``.

    :class:`UnknownNameError` with the nearest match where there is none, :class:`PluginError` where it is no task.
    """
    task = named.load(TASKS, name)
    spec = named.spec_of(name) or name
    if not isinstance(task, Task):
        kind = type(task).__name__
        raise PluginError(f"task {spec}: it must be a moebench.tasks.Task, not a {kind}.", code="no-task", spec=spec)
    lacking = next((field for field in ("info", "split") if not hasattr(task, field)), None)
    if lacking or not isinstance(task.info, TaskInfo):
        raise PluginError(
            f"task {spec}: its '{lacking or 'info'}' is not set; 'info' is a moebench.tasks.TaskInfo and 'split' says "
            "how the parts are divided.",
            code="incomplete-task",
            spec=spec,
        )
    return task
