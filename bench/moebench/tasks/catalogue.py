"""Tasks by name or by file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from moebench.errors import PluginError
from moebench.plugins import named
from moebench.plugins.find import TASKS
from moebench.tasks.base import Headline, Inputs, Task, TaskInfo

NAME = re.compile(r"[a-z][a-z0-9_-]{0,59}")


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
    _check_info(spec, task.info)
    return task


def _check_info(spec: str, info: TaskInfo) -> None:
    """:class:`PluginError` for a field of the wrong kind, or a name that a board could not print."""
    right = {
        "inputs": (isinstance(info.inputs, Inputs), "an Image, Tokens, Features or Vectors"),
        "headline": (isinstance(info.headline, Headline | None), "a Headline, or None"),
        "targets": (
            isinstance(info.targets, Mapping) and (info.headline is None or len(info.targets) > 0),
            "a mapping of names to numbers of outputs, not empty where there is a headline",
        ),
        "label": (isinstance(info.label, str), "a string"),
        "name": (
            isinstance(info.name, str) and NAME.fullmatch(info.name),
            "lower-case letters, digits, underscores and hyphens, at most 60",
        ),
    }
    for field, (holds, what) in right.items():
        if not holds:
            raise PluginError(
                f"task {spec}: 'info.{field}' is {getattr(info, field)!r}; it must be {what}.",
                code="wrong-info",
                field=field,
            )
