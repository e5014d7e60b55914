"""A run that is interrupted goes on from its checkpoint and ends with the same numbers, to the last bit."""

import functools
import hashlib
import io
import os
import pickle
from pathlib import Path

import pytest
import torch

from hand_made import digits, model_of, recipe, train
from moebench.errors import ResultsError
from moebench.records import Store
from moebench.runner.checkpoints import Checkpoints
from moebench.runner.stopping import Stopped
from moebench.runner.weights import load_weights
from tiny import run_tiny, write_plugin, write_suite

STEPS = 12
SETTINGS = {"sparse_topk": {"noise_std": 1.0}}
MADE_BY = {"torch": "1", "device": "cpu"}


class StopsAfter:
    """Tells the run to stop after so many steps."""

    def __init__(self, steps):
        self.left = steps

    def __call__(self):
        self.left -= 1
        return self.left == 0


def keeper(path, *, stopping=lambda: False, every=1e9, made_by=MADE_BY):
    return Checkpoints(path=path, made_by=made_by, every=every, stopping=stopping, alive=lambda: None)


def parts(name):
    """A model, data and a recipe with everything that draws: order, augmentation, the layers' noise."""
    how = recipe(steps=STEPS, augment="crop-flip", loss_weights={"balance": 0.01})
    return model_of(name, **SETTINGS.get(name, {})), digits("train", 90), how


def trained(name, path=None, **how):
    """(model, curves) of a tiny training; from the checkpoint in ``path`` if there is one."""
    model, data, plan = parts(name)
    curves = train(model, data, plan, keeper(path, **how) if path else None)
    return model, curves


@functools.cache
def undisturbed(name):
    """(model, curves) of a training without checkpoints."""
    return trained(name)


def assert_same(one, other):
    for (name, a), (_, b) in zip(one[0].state_dict().items(), other[0].state_dict().items(), strict=True):
        assert torch.equal(a, b), name
    assert (one[1].loss_S == other[1].loss_S).all()
    assert (one[1].mass_SLE == other[1].mass_SLE).all()


@pytest.mark.parametrize("name", ["dense", "soft_moe", "sparse_topk", "deepseek", "topk_qb", "expert_choice"])
def test_an_interrupted_training_ends_with_the_bits_of_one_that_was_not(tmp_path, name):
    path = tmp_path / "x.checkpoint"
    for steps in (1, 5, STEPS - 6):
        with pytest.raises(Stopped):
            trained(name, path, stopping=StopsAfter(steps))
        torch.rand(3)  # another process has drawn otherwise
    assert path.exists()
    resumed = trained(name, path)
    assert resumed[1].resumed_at == STEPS
    assert resumed[1].earlier > 0
    assert_same(resumed, undisturbed(name))


def test_a_checkpoint_is_taken_when_it_is_due(tmp_path):
    path = tmp_path / "x.checkpoint"
    trained("dense", path, every=1e9)
    assert not path.exists()
    trained("dense", path, every=0.0)
    assert keeper(path).kept().step >= 1


def damaged_ones(content):
    flipped = bytearray(content)
    flipped[-3] ^= 1
    yield "truncated", content[: len(content) // 2]
    yield "a flipped bit", bytes(flipped)
    yield "empty", b""
    yield "no checkpoint", b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"


@pytest.mark.parametrize("index", range(4))
def test_a_damaged_checkpoint_is_set_aside_and_said_and_the_run_begins_anew(tmp_path, index):
    path = tmp_path / "x.checkpoint"
    with pytest.raises(Stopped):
        trained("soft_moe", path, stopping=StopsAfter(4))
    _, content = list(damaged_ones(path.read_bytes()))[index]
    path.write_bytes(content)
    kept = keeper(path)
    model, data, plan = parts("soft_moe")
    curves = train(model, data, plan, kept)
    assert "set aside as 'x.damaged'" in kept.set_aside
    assert (tmp_path / "x.damaged").read_bytes() == content
    assert curves.resumed_at == 0
    assert_same((model, curves), undisturbed("soft_moe"))


def hollow(path, before=b""):
    """A sparse file of a GiB, which says that it holds one number."""
    header = b'{"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(before + len(header).to_bytes(8, "little") + header)
    os.truncate(path, 1 << 30)


def test_a_sparse_file_is_refused_before_it_is_read_whole(tmp_path, monkeypatch):
    read = []
    opened = os.fdopen

    class Counted(io.BufferedReader):
        def read(self, size=-1):
            read.append(os.fstat(self.fileno()).st_size if size < 0 else size)
            return super().read(size)

    monkeypatch.setattr(os, "fdopen", lambda handle, mode: Counted(opened(handle, mode, 0)))
    hollow(tmp_path / "x.checkpoint", b"0" * 64 + b"\n")
    kept = keeper(tmp_path / "x.checkpoint")
    assert kept.kept() is None
    assert "set aside as 'x.damaged': it cannot be read (Not of the size that it gives)" in kept.set_aside
    store = Store(tmp_path / "r")
    hollow(store.weights_path("ab12"))
    with pytest.raises(ResultsError, match="Not of the size that it gives"):
        load_weights(parts("dense")[0], store, "ab12", torch.device("cpu"))
    for content in (b"\xff" * 100, b"\x02" + b"\0" * 7 + b"[]", b"\x02" + b"\0" * 7 + b"{}" + b"\0"):
        store.weights_path("ab12").write_bytes(content)
        with pytest.raises(ResultsError, match="Not of the size that it gives"):
            load_weights(parts("dense")[0], store, "ab12", torch.device("cpu"))
    assert max(read) < 1000


def test_reading_a_checkpoint_executes_nothing(tmp_path):
    class Writes:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    path = tmp_path / "x.checkpoint"
    body = pickle.dumps(Writes())
    path.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    kept = keeper(path)
    assert kept.kept() is None
    assert kept.set_aside
    assert not (tmp_path / "executed").exists()


def test_the_checkpoint_of_other_software_is_not_gone_on_from(tmp_path):
    path = tmp_path / "x.checkpoint"
    with pytest.raises(Stopped):
        trained("dense", path, stopping=StopsAfter(4))
    kept = keeper(path, made_by={"torch": "2", "device": "cpu"})
    assert kept.kept() is None
    assert "another software or device" in kept.set_aside


def test_the_checkpoint_of_another_model_is_not_gone_on_from(tmp_path):
    path = tmp_path / "x.checkpoint"
    with pytest.raises(Stopped):
        trained("soft_moe", path, stopping=StopsAfter(4))
    kept = keeper(path)
    model, data, plan = parts("dense")
    curves = train(model, data, plan, kept)
    assert "missing or of another shape" in kept.set_aside
    assert_same((model, curves), undisturbed("dense"))


def test_a_checkpoint_that_cannot_be_written_costs_no_run(tmp_path):
    (tmp_path / "file").write_text("")
    blocked = tmp_path / "file" / "x.checkpoint"
    model, data, plan = parts("dense")
    curves = train(model, data, plan, Checkpoints(blocked, MADE_BY, 0.0, lambda: False, lambda: None))
    assert_same((model, curves), undisturbed("dense"))


DIES_ONCE = """(marker := __import__('pathlib').Path({marker!r}), n := [*marker.parent.glob('step-*')],
             (marker.parent / f'step-{{len(n)}}').touch(),
             os.kill(os.getpid(), 9) if len(n) == 7 else None)"""


def test_a_run_whose_process_was_killed_goes_on_from_its_checkpoint(tmp_path):
    """Of a whole suite: the second try gives the record of a run that was never killed, and says where it began."""
    suite = write_suite(tmp_path)
    (tmp_path / "steps").mkdir()
    plugin = write_plugin(tmp_path, "dies", in_training=DIES_ONCE.format(marker=str(tmp_path / "steps" / "x")))
    want = {"variants": (plugin,), "trials": 1, "seeds": 1, "workers": 1, "checkpoint_seconds": 1e-6}
    first = run_tiny(suite, tmp_path / "results", **want)
    assert [(label, status) for label, status, _ in first.unfinished] == [("dies digits trial 0", "oom")]
    assert len(list((tmp_path / "results" / "checkpoints").rglob("*.checkpoint"))) == 1
    second = run_tiny(suite, tmp_path / "results", **want)
    assert second.unfinished == ()
    undisturbed = run_tiny(suite, tmp_path / "other", **want)
    assert undisturbed.unfinished == ()
    found, other = scores_of(tmp_path / "results"), scores_of(tmp_path / "other")
    assert found == other
    resumed = [r for r in Store(tmp_path / "results").records() if "resumed_at_step" in r.provenance]
    assert [(r.cell["variant"], r.cell["kind"]) for r in resumed] == [("dies", "trial")]
    assert 1 <= resumed[0].provenance["resumed_at_step"] <= 7
    assert list((tmp_path / "results" / "checkpoints").rglob("*.checkpoint")) == []


def scores_of(results: Path):
    return {r.identity: r.scores for r in Store(results).records() if r.cell["kind"] != "latency"}
