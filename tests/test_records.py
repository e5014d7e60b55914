"""Cells, records and the store: identities, whole files or none, and damage that stays where it is."""

import dataclasses
import json
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

from moebench.errors import ResultsError
from moebench.records import Cell, Record, Store
from moebench.records.canonical import canonical_json, digest
from moebench.records.find import find_record
from moebench.records.store import parse_record, write_atomic

VALUES = {
    "kind": "trial",
    "protocol": "1",
    "task": "digits",
    "data_digest": "d",
    "split": "three-way",
    "host": {"name": "vit", "dim": 16, "replace": None},
    "variant": "dense",
    "code_digest": "c",
    "settings": {"lr": 0.001, "experts": 8},
    "axis": "total",
    "budget": 50_000,
    "seed": 7,
    "steps": 10,
    "batch": 8,
    "micro_batch": None,
    "precision": "fp32",
    "threads": 1,
}


def record_of(status="done", **changes):
    cell = Cell(**{**VALUES, **changes})
    return Record(identity=cell.identity, cell=cell.to_json(), status=status, scores={"validation_accuracy": 0.9})


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "results")
    store.prepare()
    return store


OTHER = {
    "kind": "final",
    "host": {"name": "vit", "dim": 32, "replace": None},
    "settings": {"lr": 0.002, "experts": 8},
    "axis": "active",
    "micro_batch": 4,
    "session": {"device": "a"},
}


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Cell)])
def test_every_field_of_a_cell_is_part_of_its_identity(field):
    value = VALUES.get(field)
    other = OTHER.get(field, value + 1 if isinstance(value, int) else f"{value}!")
    assert Cell(**{**VALUES, field: other}).identity != Cell(**VALUES).identity


def test_what_is_provenance_is_no_field_of_a_cell():
    fields = {field.name for field in dataclasses.fields(Cell)}
    assert not fields & {"suite", "row", "backend", "device", "versions"}


def test_the_order_of_settings_does_not_matter_and_their_type_does():
    reordered = dict(reversed(VALUES["settings"].items()))
    assert Cell(**{**VALUES, "settings": reordered}).identity == Cell(**VALUES).identity
    for lr in (True, 1, 1.0, "1"):
        settings = [{"lr": lr}, *({"lr": other} for other in (True, 1, 1.0, "1") if type(other) is not type(lr))]
        identities = {Cell(**{**VALUES, "settings": each}).identity for each in settings}
        assert len(identities) == 4


def test_the_identity_is_the_same_on_every_machine():
    assert Cell(**VALUES).identity == "7ad2e98712a493864674"
    assert Cell.from_json(json.loads(json.dumps(Cell(**VALUES).to_json()))).identity == Cell(**VALUES).identity
    assert pickle.loads(pickle.dumps(Cell(**VALUES))) == Cell(**VALUES)


def test_canonical_json_has_one_spelling():
    assert canonical_json({"b": [1, 2.5], "a": (None, "\u00e9")}) == '{"a":[null,"\\u00e9"],"b":[1,2.5]}'
    assert len(digest({}, 12)) == 12
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": float("nan")})


def test_a_record_is_read_as_it_was_written(store):
    record = record_of()
    path = store.put(record)
    assert path == store.record_path(record.identity)
    assert store.get(record.identity) == record
    assert list(store.records()) == [record]
    assert store.damaged == []
    assert path.stat().st_size < 8192


def test_an_unsettled_record_gives_way_to_a_settled_one(store):
    store.put(record_of("oom"))
    store.put(record_of("done"))
    assert [record.status for record in store.records()] == ["done"]
    settled = [status for status in ("done", "diverged", "error", "oom", "timeout") if record_of(status).settled]
    assert settled == ["done", "diverged"]


def test_what_is_not_there_is_none(store):
    assert store.get("0" * 20) is None
    assert store.arrays("0" * 20) == {}


def edited(**changes):
    """A record's text with its cell edited by hand."""
    value = json.loads(record_of().model_dump_json())
    value["cell"] |= changes
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        record_of().model_dump_json().encode()[:-20],
        record_of().model_dump_json().replace('"done"', '"finished"').encode(),
        record_of().model_dump_json().replace('"reason"', '"raeson"').encode(),
        edited(budget=1),
        record_of(seed=8).model_dump_json().encode(),
        b"\xff\xfe\x00",
    ],
    ids=["empty", "truncated", "status", "key", "edited", "foreign", "bytes"],
)
def test_a_damaged_record_is_set_aside_and_listed_and_the_others_stay(store, content):
    victim, other = record_of(), record_of(seed=9)
    store.put(other)
    path = store.record_path(victim.identity)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    assert list(store.records()) == [other]
    (aside,) = store.damaged
    assert aside.read_bytes() == content
    assert not path.exists()
    assert store.get(victim.identity) is None
    assert len(store.damaged) == 1
    store.put(victim)
    assert store.get(victim.identity) == victim


def test_files_that_are_no_records_are_left_alone(store):
    folder = store.root / "records" / "ab"
    folder.mkdir()
    (folder / "notes.json").write_text("mine")
    (folder / ".hidden.json.tmp").write_text("half")
    assert list(store.records()) == []
    assert store.damaged == []
    assert (folder / "notes.json").read_text() == "mine"


def a_record(**fields):
    """A trial's JSON; the number 1e400 stands without quotes, as no number of Python can."""
    cell = fields.pop("cell", VALUES)
    value = {"schema_version": 1, "identity": digest(cell), "cell": cell, "status": "done"}
    return json.dumps(value | fields).replace('"1e400"', "1e400")


def without(*names):
    return {name: value for name, value in VALUES.items() if name not in names}


def test_a_cell_older_than_a_field_with_a_default_is_read():
    assert "session" not in VALUES
    assert parse_record(a_record()).cell == VALUES


def test_a_record_whose_cell_lacks_a_field_is_set_aside(store):
    record = parse_record(a_record())
    damaged = json.loads(a_record(cell=without("seed")))
    path = store.put(record.model_copy(update=damaged))
    with pytest.raises(ResultsError, match=r"^the record '.*' is damaged; it was set aside\.$"):
        find_record(damaged["identity"], store.root)
    assert path.with_suffix(".damaged").is_file()


def test_what_a_record_does_not_have_to_hold_is_kept_as_it_is():
    record = parse_record(a_record(provenance={"seconds": 9, "weather": ["rain"]}))
    assert record.provenance == {"seconds": 9, "weather": ["rain"]}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "^not whole JSON"),
        ("[]", "^not a record$"),
        ('{"schema_version": 1}', "^not a record: identity: Field required"),
        ('{"schema_version": 1, "scores": {"a": NaN}}', "^NaN is no number in JSON$"),
        ("[" * 100_000, "nested too deeply$"),
        (a_record(scores={"test_accuracy": "1e400"}), "1e400 is larger than any number of a run"),
        (a_record(provenance={"versions": ["torch"]}), "provenance: .*versions: Input should be"),
        (a_record(provenance={"seconds": "9"}), "provenance: .*seconds: Input should be"),
        (a_record(counts={"budget_error": "0"}), "counts: .*budget_error: Input should be"),
        (a_record(details={"finalists": []}), "details: .*finalists: Input should be"),
        (a_record(cell=VALUES | {"weather": "rain"}), "^not a record: cell: .*weather: Extra inputs"),
        (a_record(cell=VALUES | {"steps": "10"}), "^not a record: cell: .*steps: Input should be a valid integer"),
        (a_record(cell=VALUES | {"session": None}), "^not a record: cell: .*session: Input should be a valid dict"),
        (a_record(cell=without("seed")), "^not a record: cell: .*seed: Field required$"),
        ('{"schema_version": 0}', "^a record of schema version 0, and this moebench reads 1$"),
        ("{}", "^a record of schema version None, and this moebench reads 1$"),
    ],
)
def test_reading_a_record_says_why_it_is_none(text, says):
    with pytest.raises(ValueError, match=says):
        parse_record(text)


def test_arrays_go_through_a_sidecar_without_pickle(store):
    arrays = {
        "loss_S": np.arange(4, dtype=np.float32),
        "mass_SLE": np.zeros((2, 0, 3)),
        "test_prediction_N": np.array([1, 2], dtype=np.int16),
        "kept": np.array([True]),
        "text": np.array(["a", "bc"]),
    }
    path = store.put_arrays("ab" * 10, arrays)
    again = store.arrays("ab" * 10)
    assert list(again) == list(arrays)
    for name, array in arrays.items():
        assert again[name].dtype == array.dtype
        np.testing.assert_array_equal(again[name], array)
    assert b"pickle" not in path.read_bytes()


def test_objects_are_refused_before_they_are_pickled(store):
    with pytest.raises(TypeError, match="the array 'things' holds objects"):
        store.put_arrays("ab" * 10, {"things": np.array([{}, None], dtype=object)})
    assert not store.sidecar_path("ab" * 10).exists()


def test_a_damaged_sidecar_is_set_aside_and_never_unpickled(store, tmp_path):
    identity = "ab" * 10
    path = store.put_arrays(identity, {"a": np.arange(1000)})
    whole = path.read_bytes()
    with_object = tmp_path / "object.npz"
    np.savez(with_object, a=np.array([print], dtype=object))
    damaged = [b"", b"PK", whole[:-30], whole[:60] + b"\0" * 40 + whole[100:], with_object.read_bytes()]
    for number, content in enumerate([*damaged, pickle.dumps({"a": 1})], 1):
        path.write_bytes(content)
        assert store.arrays(identity) == {}
        assert len(store.damaged) == number
        assert not path.exists()


@pytest.mark.parametrize("place", ["file/results", "file"])
def test_a_directory_that_cannot_be_written_is_a_sentence(tmp_path, place):
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / place)
    with pytest.raises(ResultsError) as caught:
        store.prepare()
    assert str(caught.value).startswith(f"cannot write to the results directory '{tmp_path / place}' (")
    assert str(caught.value).endswith("; choose another with --results DIR.")
    assert caught.value.code == "results-not-writable"
    for code, touch in {
        "cannot-write": (lambda: store.put(record_of()), lambda: store.put_arrays("ab" * 10, {})),
        "cannot-read": (lambda: store.get("ab" * 10), lambda: store.arrays("ab" * 10)),
    }.items():
        for each in touch:
            with pytest.raises(ResultsError) as caught:
                each()
            assert caught.value.code == code


def test_an_exception_while_writing_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "a" / "record.json"
    write_atomic(path, b"old")
    with pytest.raises(TypeError):
        write_atomic(path, None)
    for step in ("fsync", "replace"):

        def full(*_):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, step, full)
            with pytest.raises(OSError, match="No space left"):
                write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_a_writer_that_is_killed_leaves_the_old_file_whole(tmp_path):
    path = tmp_path / "record.json"
    write_atomic(path, b"old" * 1000)
    code = (
        "import os, sys; from pathlib import Path; from moebench.records.store import write_atomic\n"
        "os.fsync = lambda handle: os.kill(os.getpid(), 9)\n"
        "write_atomic(Path(sys.argv[1]), b'new' * 1000)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert killed.returncode == -9
    assert path.read_bytes() == b"old" * 1000
    write_atomic(path, b"new" * 1000)
    assert path.read_bytes() == b"new" * 1000
    assert list(Store(tmp_path).records()) == []


def test_readers_see_the_whole_old_file_or_the_whole_new_one(store):
    records = [record_of("oom"), record_of("done")]
    stop = threading.Event()

    def write():
        while not stop.is_set():
            for record in records:
                store.put(record)

    store.put(records[0])
    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = {store.get(records[0].identity).status for _ in range(200)}
    finally:
        stop.set()
        writer.join()
    assert seen <= {"oom", "done"}
    assert store.damaged == []


def test_reading_records_pays_for_no_heavy_library(store):
    store.put(record_of())
    code = (
        "import sys; from pathlib import Path; from moebench.records import Store\n"
        f"assert len(list(Store(Path({str(store.root)!r})).records())) == 1\n"
        "heavy = {'torch', 'numpy', 'mlflow'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
