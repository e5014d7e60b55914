"""Which device a run uses."""

import contextlib
import os
import sys
from types import SimpleNamespace

import pytest
import torch

from hand_made import recipe, split
from moebench.errors import DeviceError
from moebench.records import Cell, Store
from moebench.runner import rank, run_cell, trained
from moebench.runner.options import RunOptions
from moebench.runner.outcomes import NO_HOST_MEMORY, RankError, status_of
from moebench.runner.progress import Progress
from moebench.runner.ranks import _alike
from moebench.runner.run_plan import run_plan
from moebench.runner.stopping import Stop
from moebench.tasks import Stream, augment_batch, image_task
from moebench.tasks.base import sent
from moebench.training import loop
from moebench.training.device import choose_device, default_precision, device_name, software_of, use
from plans import ALONE, VALUES, a_plan

HAS_CUDA = torch.cuda.is_available()


@pytest.mark.parametrize("asked", [None, "auto"])
def test_cuda_is_chosen_where_there_is_one(asked):
    assert choose_device(asked).type == ("cuda" if HAS_CUDA else "cpu")


def test_the_cpu_is_always_there():
    assert choose_device("cpu") == torch.device("cpu")
    assert device_name(torch.device("cpu")).startswith("cpu (")


@pytest.mark.parametrize("asked", ["gpu", "cuda:x", "cuda:-1", "", "cuda 0", "meta"])
def test_a_word_that_is_no_device_or_of_another_kind_is_refused_by_name(asked):
    with pytest.raises(DeviceError, match=f"'{asked}' is not supported; use cpu, cuda or cuda:N") as caught:
        choose_device(asked)
    assert caught.value.code == "unknown-device"


def test_a_card_that_is_not_there_is_refused_with_how_many_there_are():
    with pytest.raises(DeviceError) as caught:
        choose_device("cuda:99")
    assert (caught.value.code, caught.value.facts["count"]) == ("no-such-device", torch.cuda.device_count())


def test_precision_follows_the_kind_of_device():
    assert default_precision("cpu") == "fp32"
    assert default_precision("cuda") == "bf16"


def test_a_gpu_is_made_current_and_fp32_is_fp32_in_convolutions_too(monkeypatch):
    current = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    use(torch.device("cuda", 3), "bf16")
    assert torch.backends.cudnn.allow_tf32
    use(torch.device("cuda"), "fp32")
    assert not torch.backends.cudnn.allow_tf32
    assert current == [3, 0]
    use(torch.device("cpu"), "fp32")
    assert len(current) == 2


def test_a_gpu_is_deterministic_where_that_is_asked(monkeypatch):
    switched = []
    monkeypatch.setattr(torch.cuda, "set_device", lambda index: None)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.setattr(torch, "use_deterministic_algorithms", switched.append)
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    use(torch.device("cuda", 0), "bf16")
    use(torch.device("cpu"), "bf16", deterministic=True)
    assert (switched, os.environ.get("CUBLAS_WORKSPACE_CONFIG")) == ([], None)
    use(torch.device("cuda", 0), "bf16", deterministic=True)
    assert (switched, os.environ["CUBLAS_WORKSPACE_CONFIG"]) == ([True], ":4096:8")


class BegunError(Exception):
    """A job that was to begin."""


class Executor:
    """Begins nothing."""

    def has_room(self):
        return True

    def submit(self, job):
        raise BegunError(job)


@pytest.mark.parametrize("asked", [False, True])
def test_a_run_is_deterministic_where_its_suite_says_so(asked, tmp_path, monkeypatch):
    plan = a_plan(training=VALUES["training"] | {"deterministic": asked}, device="cpu", **ALONE)
    Store(tmp_path).prepare()
    with pytest.raises(BegunError) as begun:
        run_plan(
            plan,
            RunOptions(results=tmp_path),
            Executor(),
            Progress(),
            Stop(),
            pickled={},
            on_record=lambda record: None,
            before_alone=lambda: None,
        )
    (job,) = begun.value.args
    heard = SimpleNamespace(stopping=lambda: False, alive=lambda: None)
    kept = run_cell._checkpoints(job, torch.device("cpu"), Store(tmp_path), heard)
    assert ("deterministic" in kept.made_by) == asked, "it goes on from its own steps alone"
    monkeypatch.setattr(run_cell, "use", lambda *given, deterministic: 1 / 0 if deterministic else sys.exit())
    with pytest.raises(ZeroDivisionError if asked else SystemExit):
        run_cell.run_cell(job)


def a_run_on(device, task="digits"):
    """A job with what is read of it before it trains; its device has a precision of its own."""
    cell = SimpleNamespace(threads=1, precision="fp32", task=task, seed=0)
    return SimpleNamespace(cell=cell, device=device, ranks=2, plugins={}, deterministic=False)


@pytest.fixture
def used(monkeypatch):
    """The CUDA devices that were made current, with TF32 of convolutions at that time."""
    found = []
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.setattr(torch.cuda, "set_device", found.append)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    return found


def test_every_rank_has_the_settings_of_the_first_on_a_gpu_of_its_own(used, monkeypatch):
    seen = []
    monkeypatch.setattr(rank, "end_with", lambda owner: None)
    monkeypatch.setattr(rank, "keep_freed_memory", lambda: None)
    monkeypatch.setattr(rank, "meeting", lambda port: None)
    monkeypatch.setattr(rank, "joined", lambda *given: contextlib.nullcontext())
    monkeypatch.setattr(rank, "train_share", lambda *given: seen.append(([*used], torch.backends.cudnn.allow_tf32)))
    rank.follow(rank.Seat(a_run_on("cuda:2"), rank=1, port=0, owner=0))
    assert seen == [([3], False)]


def test_a_trained_model_makes_its_gpu_the_current_one(used, monkeypatch, tmp_path):
    """As kernels of Triton start on the current one."""
    cell = SimpleNamespace(kind="final", precision="fp32", variant="dense")
    monkeypatch.setattr(Cell, "from_json", lambda values: cell)
    monkeypatch.setattr(trained, "_spec_of", lambda *given: "dense")
    monkeypatch.setattr(trained, "load_weights", lambda *given: True)
    built = []
    monkeypatch.setattr(
        trained, "build", lambda *given: built.append([*used]) or SimpleNamespace(model=torch.nn.Module())
    )
    store = Store(tmp_path)
    store.weights_path("aa").parent.mkdir(parents=True)
    store.weights_path("aa").touch()
    record = SimpleNamespace(cell={}, identity="aa", status="done", provenance={}, details={})
    trained.load_trained(store, record, torch.device("cuda", 1))
    assert (built, torch.backends.cudnn.allow_tf32) == ([[1]], False)


def test_provenance_of_a_gpu_names_its_software(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91002)
    assert software_of(torch.device("cpu")) == {}
    found = software_of(torch.device("cuda", 0))
    assert set(found) == {"driver", "cuda", "cudnn", "tf32", "deterministic"}
    assert found["cudnn"] == "91002"
    assert found["deterministic"] == "torch False, cuDNN False"
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    assert software_of(torch.device("cuda", 0))["deterministic"] == "torch False, cuDNN True"


@pytest.mark.parametrize(
    "words", ["CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`", "CUDA error: out of memory"]
)
def test_memory_that_a_library_does_not_get_is_memory_too(words):
    assert status_of(RuntimeError(words))[0] == "oom"


@pytest.fixture
def shared_gpu(monkeypatch):
    """A GPU of which a neighbour has most."""
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (5 << 20, 81920 << 20))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 3000 << 20)


def test_where_memory_did_not_do_the_reason_says_who_has_it(shared_gpu, monkeypatch):
    error = torch.OutOfMemoryError("CUDA out of memory")
    words = "out of memory (5 of 81,920 MiB of the GPU are free, this process holds 3,000)"
    assert status_of(error) == ("oom", f"{words}; a smaller --micro-batch needs less.")
    without = ("oom", "out of memory; a smaller --micro-batch needs less.")
    assert status_of(MemoryError()) == status_of(RuntimeError(f"{NO_HOST_MEMORY}: 3 bytes")) == without
    monkeypatch.setattr(torch.cuda, "mem_get_info", raises)
    assert status_of(error) == without


def raises():
    raise RuntimeError("CUDA error: unspecified launch failure")


def test_ranks_that_lack_memory_fail_alike_though_each_names_its_own():
    other = RankError(1, "oom", "out of memory (1 of 9 MiB of the GPU are free, this process holds 8)")
    assert _alike(other, "oom", "out of memory (2 of 9 MiB of the GPU are free, this process holds 7)")
    assert not _alike(other, "error", "out of memory")
    assert not _alike(RankError(1, "error", "one"), "error", "another")


def test_what_is_drawn_for_a_step_goes_to_cuda_from_pinned_memory(monkeypatch):
    """From other memory the host would wait for the device, twice a step."""
    log = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: log.append("pinned") or tensor)
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, device, **how: log.append((device.type, how)) or tensor)
    tensor = torch.ones(2)
    assert sent(tensor, torch.device("cuda", 0)) is sent(tensor, torch.device("cpu")) is tensor
    assert log == ["pinned", ("cuda", {"non_blocking": True}), ("cpu", {})]


def test_crops_and_streams_are_sent_so(monkeypatch):
    moved = []
    for module in (image_task, loop):
        monkeypatch.setattr(module, "sent", lambda tensor, device: moved.append(tensor.shape) or tensor)
    augment_batch(torch.zeros(3, 1, 8, 8), "crop-flip", torch.Generator())
    assert moved == [(2, 3), (3, 1)]
    del moved[:]
    stream = Stream(lambda count, generator: split(torch.zeros(count, 1, 1, 2), torch.zeros(count)))
    (batch,) = loop._batches(stream, recipe(steps=1, batch=5), torch.Generator(), torch.device("cpu"))(0)
    assert sorted(moved) == [(5,), (5, 1, 1, 2)]
    assert len(batch) == 5
