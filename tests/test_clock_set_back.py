"""A clock that is set back while a run trains: the run is done, and its times are no less than nothing."""

import itertools
import time
from math import isfinite

import pytest

from moebench.records.record import SCHEMA
from moebench.records.schema import schema_of
from moebench.runner import run_cell as running
from test_kept_models import job_of


def test_a_run_during_which_the_clock_jumps_back_is_done(tmp_path, monkeypatch):
    jsonschema = pytest.importorskip("jsonschema")
    job, ticks = job_of(tmp_path, "mine", {}), itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: 1e6 - 10.0 * next(ticks))
    record = running.run_cell(job)
    assert record.status == "done", record.reason
    assert record.provenance["seconds"] >= 0
    assert record.details["train_seconds"] >= 0
    assert isfinite(record.details["inputs_per_second"])
    assert record.details["inputs_per_second"] >= 0
    jsonschema.validate(record.model_dump(mode="json"), schema_of(SCHEMA))
