"""What is wrong with a suite, as one sentence: the key, what it holds, and what would be right."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import BaseModel, ValidationError

from moebench.hosts import HOSTS
from moebench.suites import sweep
from moebench.suites.schema import Suite, Training

MODELS: dict[str, type[BaseModel]] = {
    "Suite": Suite,
    "Training": Training,
    "Sweep": sweep.Sweep,
    "SweepTraining": sweep.SweepTraining,
    "Series": sweep.Series,
    **{model.__name__: model for model in HOSTS.values()},
}
"""The models that are validated on their own, by the title that pydantic gives their errors."""

WORDS = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be a string",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "too_short": "must not be empty",
}
"""What would be right, by pydantic's kind of finding; the others say it well enough."""


def sentence(error: ValidationError, key: str = "") -> str:
    """The likeliest of pydantic's findings. ``key`` is where the validated table lies in the file."""
    findings = error.errors()
    # A misspelt key is also missing under its right name: the spelling is what has to be mended.
    finding = next((each for each in findings if each["type"] == "extra_forbidden"), findings[0])
    where = ".".join(filter(None, (key, *map(str, _place(finding["loc"], findings)))))
    if finding["type"] == "extra_forbidden":
        return f"unknown key '{where}'; {hint(str(finding['loc'][-1]), _siblings(error.title, finding['loc']))}"
    if finding["type"] == "missing":
        return f"the key '{where}' is missing."
    got = finding.get("input")
    shown = f", not {got!r}" if isinstance(got, str | int | float | bool) else ""
    said = f"{where + ': ' if where else ''}{_expectation(finding, findings)}{shown}"
    return said if said.endswith("?") else f"{said}."


def hint(name: str, known: list[str]) -> str:
    """What a misspelt name might have meant, or all that there is."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}."


def _expectation(finding: Any, findings: list[Any]) -> str:
    if _of_union(finding, findings):
        return "must be a number, a string, true or false"
    if finding["type"] in WORDS:
        return WORDS[finding["type"]]
    message = str(finding["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
    return message[0].lower() + message[1:]


def _place(loc: tuple[Any, ...], findings: list[Any]) -> tuple[Any, ...]:
    """Where the value lies; for a value that may have several types pydantic adds each of them."""
    return loc[:-1] if _of_union({"loc": loc}, findings) else loc


def _of_union(finding: Any, findings: list[Any]) -> bool:
    """Whether several findings are about one value, one for each type it might have had."""
    loc = finding["loc"]
    return len(loc) > 1 and sum(each["loc"][:-1] == loc[:-1] for each in findings) > 1 and loc[0] == "space"


def _siblings(title: str, loc: tuple[Any, ...]) -> list[str]:
    """The keys that exist beside an unknown one."""
    model: Any = MODELS.get(title)
    for part in loc[:-1]:
        field = model.model_fields.get(part) if model is not None and isinstance(part, str) else None
        if field is None:
            continue
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        model = next((c for c in candidates if hasattr(c, "model_fields")), model)
    return sorted(model.model_fields) if model is not None else []
