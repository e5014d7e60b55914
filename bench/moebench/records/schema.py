"""The JSON Schema of records, by version.

A record of an older version is read by the schema of that version and never rewritten, for its identity is a digest of
its content. ``record.READ`` lists the versions that are read.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from pydantic import TypeAdapter

from moebench.records.cell import Cell
from moebench.records.record import SCHEMA, Record


def schema_of(version: int) -> dict[str, Any]:
    """The schema of a version that is read."""
    text = files("moebench.records").joinpath(f"record-{version}.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def current_schema() -> dict[str, Any]:
    """The schema of this code's records; the file of its version has the same, as JSON indented by 1."""
    schema = Record.model_json_schema(mode="serialization")
    schema["properties"]["schema_version"] = {"const": SCHEMA, "title": "Schema Version", "type": "integer"}
    schema["properties"]["identity"] = {"pattern": "^[0-9a-f]{20}$", "title": "Identity", "type": "string"}
    schema["properties"]["cell"] = TypeAdapter(Cell).json_schema() | {"additionalProperties": False}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"A record of moebench, version {SCHEMA}",
        **{name: value for name, value in schema.items() if name != "title"},
    }
