"""Several processes that train one model do what one process does with the same batches."""

import copy
import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from hand_made import Plain, numbered, numbered_model, recipe, train
from moebench.contract import Layer, Routing
from moebench.errors import UsageError
from moebench.plugins.find import find_variant
from moebench.plugins.identity import code_identity
from moebench.protocol import PROTOCOL
from moebench.records import Cell, Record, Store
from moebench.runner.executors.local import LocalExecutor, local_workers
from moebench.runner.job import Job
from moebench.runner.ranks import meeting
from moebench.tasks import get_task
from moebench.training.ranks import check_shares
from moebench.training.ranks.division import part_of
from moebench.training.ranks.world import ALONE
from ranks import CASES, all_outcomes, by_two, outcome
from tiny import run_tiny, write_plugin, write_suite

HERE = Path(__file__).parent
NEAR = {"rtol": 1e-5, "atol": 1e-5}
"""Rounding, as AdamW makes it of gradients that differ in rounding: a step is 1e-3 long."""


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """What the two ranks made of every case."""
    found = by_two(tmp_path_factory.mktemp("both"), all_outcomes)
    for rank in found:
        if isinstance(rank, Exception):
            raise rank
    return found


@pytest.mark.parametrize("name", CASES)
def test_two_ranks_make_of_a_batch_what_one_process_makes(both, name):
    want, (got, other) = outcome(name), (rank[name] for rank in both)
    near = {"rtol": 0.02, "atol": 5e-3} if name == "bf16" else NEAR
    for key, value in want["state"].items():
        assert torch.allclose(got["state"][key], value, **near), key
        assert torch.equal(got["state"][key], other["state"][key]), key
    for curve in ("loss_S", "mass_SLE"):
        assert torch.allclose(got[curve], want[curve], rtol=near["rtol"], atol=10 * near["atol"]), curve
        assert torch.equal(got[curve], other[curve])
    assert torch.equal(got["drawn"], want["drawn"])
    assert torch.equal(other["drawn"], want["drawn"])


def test_the_bias_of_deepseek_moves_by_the_load_of_the_whole_batch(both):
    """A rank's own counts would move the biases of experts near the mean in different directions."""
    want = outcome("deepseek")["state"]
    biases = [key for key in want if key.endswith("bias_E")]
    assert len(biases) == 2
    for key in biases:
        assert want[key].abs().max() > 0.05
        for rank in both:
            assert torch.allclose(rank["deepseek"]["state"][key], want[key], rtol=0, atol=1e-6)


class Squared(Plain):
    """Its loss is its parameter times the square of the batch's mean, which is no mean of what shares give."""

    def route(self, x_BTD, context):
        return Routing(losses={"level": self.level * x_BTD.mean().square()})


class Idle(Plain):
    """Matrices that nothing uses, or a loss without a weight: without a gradient they do not decay."""

    def __init__(self):
        super().__init__()
        self.unused, self.unweighted = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))

    def route(self, x_BTD, context):
        return Routing(losses={"other": self.unweighted.sum()})


class Sealed(Layer):
    """y = x weight, the weights in an object that cannot be looked into."""

    num_experts = 2

    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(2, 2, bias=False)

    def route(self, x_BTD, context):
        weight_BTE = self.gate(x_BTD).sigmoid()
        return Routing.soft(weight_BTE.detach(), state=lambda: weight_BTE)

    def compute(self, x_BTD, routing, keep_BE=None):
        return x_BTD * routing.state()


class Opened(Sealed):
    """The same, and says how it comes apart."""

    def part_of(self, x_BTD, routing, inputs):
        weight_BTE = routing.state()[inputs]
        return Routing.soft(routing.combine_BTE[inputs], state=lambda: weight_BTE)


class Misleading(Plain):
    """Its state has a row for each of 8 experts, and looks as if it had one for each of a batch of 8 inputs."""

    def __init__(self):
        super().__init__()
        self.value_ED = nn.Parameter(torch.arange(16.0).view(8, 2))

    def route(self, x_BTD, context):
        return Routing(state=self.value_ED)

    def compute(self, x_BTD, routing, keep_BE=None):
        return x_BTD + routing.state.sum(0)


class Remembering(Plain):
    """Its compute() changes a buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def compute(self, x_BTD, routing, keep_BE=None):
        if self.training:
            self.mean.mul_(0.9).add_(0.1 * x_BTD.detach().mean())
        return x_BTD


class Dropping(Plain):
    """Draws in compute(), as dropout does; remembers what."""

    def compute(self, x_BTD, routing, keep_BE=None):
        if not self.training:
            return x_BTD
        self.drawn = [*getattr(self, "drawn", []), torch.rand(4)]
        return x_BTD * (self.drawn[-1].mean() > 0)


class Sometimes(Sealed):
    """Uses its routing only for inputs that a rank may have none of."""

    def route(self, x_BTD, context):
        return Routing(state=self.gate(x_BTD).sigmoid())

    def compute(self, x_BTD, routing, keep_BE=None):
        small_B = x_BTD[:, 0, 0].detach() < 8
        if not small_B.any():
            return x_BTD
        return torch.where(small_B[:, None, None], x_BTD * routing.state, x_BTD)


def odd_ones(world):
    """Layers that the built-in variants are not like: their parameters after training, or the exception."""
    torch.set_num_threads(1)
    layers = {kind.__name__: kind for kind in (Squared, Sealed, Opened, Misleading, Remembering, Dropping, Idle)}
    found = {name: attempt(kind, world) for name, kind in layers.items()}
    found["Sometimes"] = attempt(Sometimes, world, learns=True)
    found["batch of 7"] = attempt(Plain, world, batch=7)
    return found


def attempt(kind, world, *, batch=8, learns=False):
    torch.manual_seed(1)
    layer, data = kind(), numbered(32)
    model = numbered_model(layer)
    if learns:  # what comes before the layer gets its gradient through what is gathered
        model.norm = nn.Linear(2, 2)
        nn.init.eye_(model.norm.weight)
        data = dataclasses.replace(data, inputs=data.inputs.sort(0).values)
    how = recipe(steps=3, batch=batch, lr=0.01, weight_decay=0.1, loss_weights={"level": float(kind is Squared)})
    try:
        train(model, data, how, world=world)
    except UsageError as error:
        return error.code, str(error)
    drawn = torch.stack(layer.drawn) if isinstance(layer, Dropping) else torch.zeros(())
    return {"weights": [copy.deepcopy(each.data) for each in model.parameters()], "drawn": drawn, "next": torch.rand(1)}


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """What the two ranks found of odd layers."""
    found = by_two(tmp_path_factory.mktemp("odd"), odd_ones)
    for rank in found:
        if isinstance(rank, Exception):
            raise rank
    return found


@pytest.mark.parametrize("kind", [Squared, Opened, Sometimes, Idle])
def test_a_layer_of_ones_own_trains_as_in_one_process(odd, kind):
    """A loss that is nonlinear in the batch; a state of its own; a share that asks for no gradient; parameters that
    get none.
    """
    want = attempt(kind, ALONE, learns=kind is Sometimes)
    for rank in odd:
        for got, wanted in zip(rank[kind.__name__]["weights"], want["weights"], strict=True):
            assert torch.allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_ranks_draw_their_own_numbers_in_compute_and_leave_the_default_generator_alone(odd):
    first, second = (rank["Dropping"] for rank in odd)
    assert first["drawn"].shape == (3, 4)
    assert len({float(value) for value in torch.cat([first["drawn"], second["drawn"]]).flatten()}) == 24
    assert torch.equal(first["next"], second["next"])
    assert torch.equal(first["next"], attempt(Plain, ALONE)["next"])


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("Sealed", "layer-not-divisible", "its routing cannot be divided by inputs"),
        ("Misleading", "layer-not-divisible", "its routing cannot be divided by inputs"),
        ("Remembering", "layer-not-divisible", "its compute() changes buffers"),
        ("batch of 7", "unequal-shares", "a batch of 7 inputs"),
    ],
)
def test_what_cannot_be_shared_is_refused_on_all_ranks(odd, name, code, words):
    assert odd[0][name] == odd[1][name]
    assert odd[0][name][0] == code
    assert words in odd[0][name][1]


def test_a_part_of_a_routing_has_the_rows_of_its_inputs():
    rows_BK, one_E = torch.arange(8).view(4, 2), torch.arange(3)
    losses, state = {"balance": torch.arange(4.0)}, {"rows": [rows_BK, one_E], "count": 4, "kind": Routing}
    whole = Routing.soft(rows_BK.unsqueeze(1), losses=losses, state=state)
    assert whole.mass_BE.shape == (4, 2)
    part = part_of(Layer(), torch.zeros(4, 1, 1), whole, slice(1, 3))
    assert part.mass_BE.tolist() == part.state["rows"][0].tolist() == [[2, 3], [4, 5]]
    assert part.state["rows"][1] is one_E
    assert part.state["count"] == 4
    assert part.losses is whole.losses
    assert part.chosen_BTK is None
    assert part.state["kind"] is Routing


class Memory:
    """A keeper of rank 0 that keeps the snapshot after a step and ends the training there; of others, one that ends."""

    def __init__(self, at=None, snapshot=None, keeps=True):
        self.at, self.snapshot, self.keeps, self.steps = at, snapshot, keeps, []

    def kept(self):
        return self.snapshot

    def refuse(self, why):
        raise AssertionError(why)

    def after(self, step, take):
        self.steps.append(step)
        if step == self.at:
            self.snapshot = take(step) if self.keeps else None
            raise KeyboardInterrupt


def interrupted(world):
    """Weights of a training that was interrupted and went on, and of one that was not."""
    torch.set_num_threads(1)
    results = []
    for at in (None, 3):
        keeper = Memory(at, keeps=world.rank == 0)
        data, how = numbered(32), recipe(steps=6, batch=8, lr=0.01)
        model = numbered_model(Noisy())
        if at is not None:
            with pytest.raises(KeyboardInterrupt):
                train(model, data, how, keeper, world)
            keeper, model = Memory(snapshot=keeper.snapshot), numbered_model(Noisy())
        curves = train(model, data, how, keeper, world)
        results.append([*(each.data for each in model.parameters()), torch.from_numpy(curves.loss_S)])
    return *results, keeper.steps


class Noisy(Plain):
    """Draws in both steps."""

    def route(self, x_BTD, context):
        return Routing(state=x_BTD + torch.randn_like(x_BTD))

    def compute(self, x_BTD, routing, keep_BE=None):
        return routing.state + torch.randn_like(x_BTD) if self.training else routing.state


def test_all_ranks_go_on_from_the_snapshot_of_the_first(tmp_path):
    for rank in by_two(tmp_path, interrupted):
        never, once, steps = rank
        assert all(map(torch.equal, never, once))
        assert steps == [4, 5, 6]


def test_batches_are_shared_equally_or_not_at_all():
    check_shares(24, 10, 2)
    check_shares(7, None, 1)
    with pytest.raises(UsageError, match=r"a micro-batch of 10 inputs cannot be shared equally among 4 ranks\."):
        check_shares(24, 10, 4)


def test_a_suite_whose_batches_cannot_be_shared_is_refused_before_it_starts(tmp_path):
    with pytest.raises(UsageError) as caught:
        run_tiny(write_suite(tmp_path), tmp_path / "results", ranks=3)
    assert (caught.value.code, caught.value.facts["size"]) == ("unequal-shares", 32)
    assert not (tmp_path / "results").exists()


def test_fixed_rows_take_no_ranks(tmp_path):
    from moebench.experiment import run_experiment
    from moebench.runner.options import RunOptions
    from moebench.runner.progress import Progress
    from moebench.suites.request import ask

    how = RunOptions(results=tmp_path / "results", ranks=2)
    with pytest.raises(UsageError, match="leave --ranks out"):
        run_experiment(ask("paper"), how, Progress())


def test_fewer_runs_of_several_ranks_fit(monkeypatch):
    monkeypatch.setattr("moebench.machine.cores", lambda: 8)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 5)
    assert local_workers(None, 2 * 2, "cpu", 2) == 2
    assert local_workers(None, 1, "cuda", 2) == 2
    assert local_workers(None, 1, "cuda") == 5
    assert local_workers(None, 1, "cuda:3", 2) == 1
    with pytest.raises(UsageError, match="2 ranks from cuda:4 on need a GPU each; this machine has 5"):
        local_workers(None, 1, "cuda:4", 2)


def test_short_runs_share_a_gpu_as_far_as_there_are_processors(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr("moebench.machine.cores", lambda: 16)
    assert local_workers(None, 1, "cuda", seconds=20) == 12
    assert local_workers(None, 1, "cuda:1", seconds=20) == 6
    assert local_workers(None, 1, "cuda", seconds=100) == 2
    assert local_workers(None, 1, "cuda", 2, seconds=20) == 1
    assert local_workers(3, 1, "cuda", seconds=20) == 3
    monkeypatch.setattr("moebench.machine.cores", lambda: 4)
    assert local_workers(None, 1, "cuda:1", seconds=20) == 4
    assert local_workers(None, 4, "cuda", seconds=20) == 2
    assert LocalExecutor(tmp_path).fit("cuda:0", 20) == 4


def job_of(results, spec, **changes):
    task = get_task("digits")
    cell = Cell(
        kind="final",
        protocol=PROTOCOL,
        task="digits",
        data_digest=task.digest(),
        split=task.split,
        host={"name": "vit", "dim": 16, "depth": 1, "heads": 2, "patch": 4},
        variant=find_variant(spec).name,
        code_digest=code_identity(find_variant(spec)),
        settings={"lr": 3e-3, "weight_decay": 0.1},
        axis="total",
        budget=20_000,
        seed=7,
        steps=changes.pop("steps", 6),
        batch=16,
        micro_batch=None,
        precision="fp32",
        threads=1,
    )
    plain = {"row": cell.variant, "spec": spec, "label": "", "suite": "ranks", "data": None, "device": "cpu"}
    return Job(cell=cell, results=results, backend=None, save_weights=True, **plain, **{"ranks": 2, **changes})


def ended(executor, seconds=120):
    """The record of the one job under way, or None where it was given back."""
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        for _, record in executor.wait(1.0):
            return record
    raise AssertionError("it did not end")


def run(job, seconds=120):
    Store(job.results).prepare()
    executor = LocalExecutor(job.results, workers=1)
    try:
        executor.submit(job)
        return ended(executor, seconds)
    finally:
        executor.close()


def test_a_run_of_two_ranks_leaves_the_record_of_one(tmp_path):
    records = {}
    for ranks in (1, 2):
        results = tmp_path / str(ranks)
        session = run_tiny(write_suite(tmp_path), results, variants=("dense",), trials=1, seeds=1, ranks=ranks)
        assert session.unfinished == ()
        of_kind = {record.cell["kind"]: record for record in Store(results).records()}
        assert set(of_kind) == {"trial", "final", "latency"}
        records[ranks] = of_kind
    for kind in ("trial", "final"):
        one, two = records[1][kind], records[2][kind]
        assert one.identity == two.identity
        assert {k: v for k, v in two.scores.items() if v is not None} == pytest.approx(
            {k: v for k, v in one.scores.items() if v is not None}, rel=1e-5
        )
        assert "ranks" not in one.provenance
        assert two.provenance["ranks"] == 2
        arrays = [Store(tmp_path / str(ranks)).arrays(one.identity) for ranks in (1, 2)]
        assert arrays[1]["loss_S"] == pytest.approx(arrays[0]["loss_S"], rel=1e-5)


ONLY_RANK_1 = "if __import__('torch').distributed.get_rank() == 1: {what}"


@pytest.mark.parametrize(
    ("what", "status", "reason"),
    [
        ("os._exit(7)", "error", "rank 1: it ended with exit code 7."),
        ("raise MemoryError('only here')", "oom", "rank 1: out of memory; a smaller --micro-batch needs less."),
    ],
)
def test_a_rank_that_fails_ends_the_run_with_its_reason(tmp_path, what, status, reason):
    plugin = write_plugin(tmp_path, "dies", in_training=ONLY_RANK_1.format(what=what))
    record = run(job_of(tmp_path / "results", plugin))
    assert isinstance(record, Record)
    assert (record.status, record.reason) == (status, reason)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="Linux only")
def test_no_rank_outlives_the_first(tmp_path):
    """Rank 1 hangs; the limit ends rank 0 by SIGKILL, which can tell nobody."""
    pid = tmp_path / "pid"
    hang = f"open({str(pid)!r}, 'w').write(str(os.getpid())) and time.sleep(1000)"
    plugin = write_plugin(tmp_path, "hangs", in_training=ONLY_RANK_1.format(what=hang))
    job = job_of(tmp_path / "results", plugin)
    Store(job.results).prepare()
    executor = LocalExecutor(job.results, workers=1)
    try:
        executor.submit(job)
        wait_until(lambda: pid.exists() and pid.read_text())
        executor._running[0].process.kill()
        record = ended(executor)
        assert record.status == "oom"
        wait_until(lambda: not running(int(pid.read_text())))
    finally:
        executor.close()


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, seconds=60):
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def test_all_ranks_stop_in_the_same_step_and_go_on_from_there(tmp_path):
    job = job_of(tmp_path, "sparse_topk", steps=150, checkpoint_seconds=0.1)
    store, executor = Store(tmp_path), LocalExecutor(tmp_path, workers=1)
    store.prepare()
    checkpoint = store.checkpoint_path(job.cell.identity)
    try:
        executor.submit(job)
        wait_until(checkpoint.exists)
        os.kill(executor._running[0].process.pid, signal.SIGTERM)
        executor._stop_by = time.monotonic() + 60
        assert ended(executor) is None
        assert checkpoint.exists()
    finally:
        executor.close()
    record = run(job)
    assert (record.status, record.provenance["ranks"]) == ("done", 2)
    assert 0 < record.provenance["resumed_at_step"] < 150
    assert not checkpoint.exists()


SCRIPT = """
import sys, torch
from pathlib import Path
sys.path[:0] = {tests!r}
from moebench.training.ranks.shared import joined
from test_training_distributed import Squared, attempt

with joined(torch.device("cpu")) as world:
    torch.set_num_threads(1)
    torch.save(attempt(Squared, world)["weights"], {out!r} + f"/{{world.rank}}.pt")
names = [task.read_text() for task in Path("/proc/self/task").glob("*/comm")]
Path({out!r}, f"{{world.rank}}.threads").write_text("".join(name for name in names if "gloo" in name))
"""


def test_a_script_trains_under_torchrun(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(tests=[str(HERE), str(HERE / "support")], out=str(tmp_path)))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", str(script)]
    subprocess.run(torchrun, check=True, timeout=120)
    want = attempt(Squared, ALONE)["weights"]
    for rank in (0, 1):
        for got, wanted in zip(torch.load(tmp_path / f"{rank}.pt"), want, strict=True):
            assert torch.allclose(got, wanted, **NEAR)
        assert (tmp_path / f"{rank}.threads").read_text() == "", "threads of a group that ended"


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="Linux only")
def test_ranks_meet_where_only_this_machine_can_come():
    """Whatever listens at the port is bound to the loopback address, which /proc writes as 0100007F."""
    store = meeting(0)
    port = f":{store.port:04X}"
    tables = [Path(f"/proc/net/{table}").read_text().splitlines()[1:] for table in ("tcp", "tcp6")]
    lines = [line.split() for table in tables for line in table]
    assert [at for _, at, _, state, *_ in lines if state == "0A" and at.endswith(port)] == [f"0100007F{port}"]
    store.set("said", "here")
    assert meeting(store.port).get("said") == b"here"
