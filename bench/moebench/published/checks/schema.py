"""Every line against the JSON Schema of its version."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from moebench.published import pack
from moebench.published.submission import Submission
from moebench.runs.schema import schema_of

if TYPE_CHECKING:
    from jsonschema.protocols import Validator


def check(submission: Submission) -> Iterator[str]:
    """Records that do not keep to the schema, and lines that are not spelt as they were written."""
    from jsonschema import Draft202012Validator

    validators: dict[int, Validator] = {}
    text = (submission.directory / pack.NAME).read_text(encoding="utf-8")
    for number, line in enumerate(text.splitlines(), 1):
        value: Any = json.loads(line)
        if pack.to_line(value) != line:
            yield f"line {number} of {pack.NAME} is not spelt as it was written: something in it was changed by hand."
        if number == 1:
            continue
        version = value["schema_version"]
        if version not in validators:
            validators[version] = Draft202012Validator(schema_of(version))
        for error in validators[version].iter_errors(value):
            where = "/".join(map(str, error.absolute_path)) or "the record"
            yield f"record {value.get('identity')}: {where}: {error.message[:200]}."
    if text != pack.to_lines(submission.plan, submission.pack.records.values()):
        yield f"{pack.NAME} is not what its plan and its records are written as: a field too many, or another order."
