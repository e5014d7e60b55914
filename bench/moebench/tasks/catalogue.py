"""Tasks by name or by file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal, overload

from moebench.errors import DataError, PluginError, SuiteError, UnknownNameError
from moebench.plugins import named
from moebench.plugins.find import TASKS
from moebench.tasks.base import (
    Headline,
    Inputs,
    Part,
    Split,
    Stream,
    Task,
    TaskInfo,
)
from moebench.tasks.sealed import refuse_while_answering

NAME = re.compile(r"[a-z][a-z0-9_-]{0,59}")
CONFIGURED = re.compile(r"(?P<name>[^?]+)\?(?P<settings>\w+=[^&=?]+(&\w+=[^&=?]+)*)")


@cache
def get_task(name: str) -> Task:
    """The task of a name, or of ``path.py:Name``; with the settings behind it, as :func:`with_settings` writes them.

    :class:`UnknownNameError` with the nearest match where there is none, :class:`PluginError` where it is no task.
    """
    base, settings = split_settings(name)
    if settings:
        return _configured(base, settings)
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


def with_settings(name: str, settings: Mapping[str, int | str]) -> str:
    """The name of a task with these settings: ``code?tokenizer=bpe-1024&window=128``; a colon is of files."""
    written = "&".join(f"{setting}={value}" for setting, value in sorted(settings.items()))
    return f"{name}?{written}" if written else name


def split_settings(name: str) -> tuple[str, dict[str, str]]:
    """The name of the task itself, and the settings as they are written behind it."""
    found = CONFIGURED.fullmatch(name)
    return (found["name"], dict(each.split("=") for each in found["settings"].split("&"))) if found else (name, {})


def _configured(name: str, written: Mapping[str, str]) -> Task:
    """:class:`UnknownNameError` for a setting that the task does not have, :class:`SuiteError` for a word in place of a
    whole number.
    """
    task = get_task(name)
    settings: dict[str, int | str] = {}
    for setting, value in written.items():
        if setting not in task.settings:
            raise UnknownNameError("setting", setting, task.settings, where=f"task '{task.info.name}'")
        number = isinstance(task.settings[setting], int)
        if number and not value.isdecimal():
            raise SuiteError(
                f"task '{task.info.name}': the setting '{setting}' is a whole number, not '{value}'.",
                code="wrong-task-setting",
                setting=setting,
            )
        settings[setting] = int(value) if number else value
    return task.configured(settings)


def _check_info(spec: str, info: TaskInfo) -> None:
    """:class:`PluginError` for a field of the wrong kind, or a name that a board could not print."""
    right = {
        "inputs": (isinstance(info.inputs, Inputs), "an Image, Tokens, Features, Vectors or a Table"),
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


@overload
def load_part(task: Task, part: Literal["train"], data_dir: Path | None = None) -> Split | Stream: ...
@overload
def load_part(task: Task, part: Literal["validation", "test"], data_dir: Path | None = None) -> Split: ...
def load_part(task: Task, part: Part, data_dir: Path | None = None) -> Split | Stream:
    """``task.load``, compared with what the task says of its data; :class:`DataError` where they differ.

    :class:`LayerError` where a layer asks for it while it answers.
    """
    refuse_while_answering()
    data = task.load(part, data_dir)
    if isinstance(data, Stream):
        return data
    info, who = task.info, f"task '{task.info.name}': its {part} part"
    if not isinstance(data, Split) or not len(data):
        raise DataError(f"{who} is no Split, or an empty one.", code="empty-part", part=part)
    found, shape = tuple(data.inputs.shape[1:]), info.inputs.shape
    if found != shape:
        raise DataError(f"{who} has inputs of shape {found}, and its info says {shape}.", code="other-shape", part=part)
    lengths = {name: len(target) for name, target in data.targets.items()}
    if lengths != dict.fromkeys(info.targets, len(data)):
        raise DataError(
            f"{who} has targets {lengths}, and {', '.join(info.targets) or 'none'} of {len(data)} each are due.",
            code="other-targets",
            part=part,
        )
    for name, target in data.targets.items():
        classes = info.targets[name]
        if not target.is_floating_point() and not 0 <= int(target.min()) <= int(target.max()) < classes:
            raise DataError(f"{who} has classes outside 0 to {classes - 1} in '{name}'.", code="class-range", part=part)
    return data
