"""What is measured on a GPU, by one that only keeps time."""

import copy
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from fake_cuda import CUDA, FakeCuda
from hand_made import DIGITS, Plain, digits, model_of, single_layer, split
from moebench.measures import clock, cost, roofline
from moebench.measures.clock import CALLS, as_graph, in_turns, median_ms, timed
from moebench.measures.memory import PeakMemory
from moebench.measures.scores import timing
from moebench.measures.scores.timing import Stopwatch
from moebench.measures.serving import in_bf16
from moebench.plugins.find import find_variants
from no_values import META, autocast_without_values

CPU = torch.device("cpu")


@pytest.fixture
def gpu(monkeypatch):
    fake = FakeCuda(monkeypatch)
    monkeypatch.setattr(clock.time, "perf_counter", lambda: fake.host)
    return fake


@pytest.fixture
def turns(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent / "perf")
    import turns

    return turns


def test_work_of_the_device_is_timed_and_not_how_fast_the_host_starts_it(gpu):
    found = timed(gpu.part(host_ms=0.1, device_ms=2), CUDA, 5)
    assert found.ms == pytest.approx(2, rel=0.1)
    assert found.host_ms == pytest.approx(0.1)


def test_where_the_host_is_slower_its_time_is_that_of_a_call_and_a_graph_takes_the_devices(gpu):
    part = gpu.part(host_ms=2, device_ms=0.5)
    assert timed(part, CUDA, 5).ms == pytest.approx(2, rel=0.1)
    found = timed(as_graph(part, CUDA), CUDA, 5)
    assert found.ms == pytest.approx(0.5, rel=0.1)
    assert found.host_ms == pytest.approx(1e-3)


def test_a_part_is_timed_when_the_clocks_are_up_even_after_others_have_slept(gpu):
    part = gpu.part(host_ms=0.01, device_ms=1)
    for _ in range(2):
        assert timed(part, CUDA, 5).ms == pytest.approx(1, rel=0.1)
        gpu.host += 10


def test_many_calls_stand_between_two_events(gpu):
    calls = []

    def part():
        calls.append(gpu.worked >= gpu.cold)
        gpu.busy(0.0, 1e-3)

    timed(part, CUDA, 3)
    assert sum(calls) >= CALLS + 3


def test_rivals_take_turns_by_events(gpu):
    found = in_turns({"a": gpu.part(0.1, 3), "b": gpu.part(0.1, 1)}, CUDA, rounds=2, repeats=1)
    assert (found["a"].median, found["b"].median) == pytest.approx((3, 1), rel=0.1)
    assert median_ms(gpu.part(0.1, 3), CUDA, 1) == pytest.approx(3, rel=0.1)


def test_work_that_waits_has_no_graph(gpu):
    with pytest.raises(RuntimeError, match=r"it waits for the device at fake_cuda.py:\d+"):
        as_graph(gpu.part(1, 1, waits=True), CUDA)
    assert (gpu.graph, gpu.mode) == (None, 0)


@pytest.mark.filterwarnings("error")
def test_the_stream_and_random_numbers_are_as_before_after_a_capture_that_failed(gpu):
    """And what a part warns of is heard, but not that torch's way to see waiting may change."""

    def part():
        if gpu.graph is not None:
            raise RuntimeError("no such kernel in a graph")

    before = gpu.stream
    with pytest.raises(RuntimeError, match="no such kernel"):
        as_graph(part, CUDA)
    assert gpu.generator.usable
    assert gpu.stream is before
    with pytest.raises(UserWarning, match="mine"):
        as_graph(lambda: warnings.warn("mine", stacklevel=1), CUDA)


def test_the_cpu_has_the_wall_clock_alone(gpu):
    found = timed(gpu.part(host_ms=3, device_ms=0), CPU, 3)
    assert (found.ms, found.host_ms) == (pytest.approx(3), None)


def test_rivals_of_the_table_of_times_are_timed_by_what_the_device_does(monkeypatch, gpu, turns):
    """And not by when a single call has crossed its queue: here 0.3 ms."""

    def slow_end(device=None):
        gpu.synchronise()
        gpu.host += 3e-4

    class Benchmark:
        def pedantic(self, own, setup, rounds, warmup_rounds, iterations):
            data = []
            for _ in range(warmup_rounds + rounds):
                setup()
                start = gpu.host
                own()
                data.append(gpu.host - start)
            self.stats = SimpleNamespace(stats=SimpleNamespace(data=data[warmup_rounds:]))

    monkeypatch.setattr(torch.cuda, "synchronize", slow_end)
    mine, rivals = turns.take_turns(Benchmark(), gpu.part(0.01, 1), {"other": gpu.part(0.01, 3)}, CUDA, rounds=4)
    assert (mine.median, rivals["other"].ms.median) == pytest.approx((1, 3), rel=0.05)
    assert rivals["other"].ratio.median == pytest.approx(3, rel=0.05)


class Busy(torch.nn.Linear):
    """Takes a GPU 1 ms forwards and 2 ms backwards, and may read a value there."""

    def __init__(self, gpu, waits=False):
        super().__init__(2, 2)
        self.forwards, self.backwards = gpu.part(0.5, 1), gpu.part(0.5, 2, waits)

    def forward(self, x_BTD):
        self.forwards()
        y_BTD = super().forward(x_BTD)
        y_BTD.register_hook(lambda grad: self.backwards())
        return y_BTD


def test_both_passes_as_a_graph_are_replayed_and_leave_no_gradient(gpu, turns):
    layer, x_BTD = Busy(gpu), torch.randn(1, 3, 2)
    works, _ = turns.works_of({"layer": lambda: layer}, turns.GRAPH, x_BTD)
    assert timed(works["layer"], CUDA, 5).ms == pytest.approx(3, rel=0.05)
    assert layer.weight.grad is x_BTD.grad is None
    with pytest.raises(RuntimeError, match="waits for the device"):
        turns.works_of({"layer": lambda: Busy(gpu, waits=True)}, turns.GRAPH, x_BTD)


def test_a_peer_that_fails_takes_no_part_and_the_others_do(turns, monkeypatch):
    """It is made where the tokens are, here on no device, and tried before it is timed."""

    def other_torch():
        raise ImportError("built for another torch")

    makers = {"fine": lambda: torch.nn.Linear(2, 2), "not made": other_torch, "narrow": lambda: torch.nn.Linear(3, 2)}
    devices = []
    makers["watched"] = lambda: devices.append(torch.empty(1).device) or torch.nn.Linear(2, 2)
    with autocast_without_values(monkeypatch):
        works, absent = turns.works_of(makers, "forward + backward", torch.empty(1, 3, 2, device=META))
    assert ([*works], [*absent]) == (["fine", "watched"], ["not made", "narrow"])
    assert absent["not made"] == "ImportError: built for another torch"
    assert devices == [META]
    with pytest.raises(ImportError):  # where limits are asserted, nobody may be missing
        turns.works_of(makers, "forward", torch.empty(1, 3, 2))


def test_memory_is_asked_for_once_cuda_has_started(monkeypatch):
    """Before, there are no statistics, and torch raises."""
    said = []
    monkeypatch.setattr(torch, "zeros", lambda *shape, device: said.append(device))
    names = ["reset_peak_memory_stats", "memory_allocated", "max_memory_allocated"]
    for name in names:
        monkeypatch.setattr(torch.cuda, name, lambda device, name=name: said.append(name) or 0)
    with PeakMemory(CUDA):
        pass
    assert said == [CUDA, *names]


class Waits(Plain):
    """Asks the device for a value."""

    waiting = True

    def compute(self, x_BTD, routing, keep_BE=None):
        if self.waiting and torch.cuda.is_current_stream_capturing():
            raise RuntimeError("operation not permitted when stream is capturing")
        return super().compute(x_BTD, routing, keep_BE)


def stopwatch(monkeypatch, gpu, layer, precision="fp32"):
    """One that believes to be on CUDA."""
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: gpu.graph is not None)
    model = single_layer(layer, image=(1, 1, 2), classes=2, grid=1)
    data = split(torch.arange(10.0).view(-1, 1, 1, 2), torch.arange(5) % 2)
    found = Stopwatch(model, data, DIGITS.loss, 8, precision, repeats=2)
    found._device = CUDA
    monkeypatch.setattr(Stopwatch, "_autocast", lambda self: torch.autocast("cpu", enabled=False))
    # Its work takes no time on a clock that stands still.
    monkeypatch.setattr(timing, "timed", lambda part, *rest: clock.timed(lambda: (gpu.busy(1e-4, 1e-3), part()), *rest))
    return found


def test_a_finalists_host_time_and_graphs_are_apart(monkeypatch, gpu):
    watch = stopwatch(monkeypatch, gpu, Plain())
    watch.warm_up()
    found = watch.measure()
    passes = ("forward", "forward_batch1", "layers")
    assert found.keys() == {
        *(f"{name}_{what}ms" for name in passes for what in ("", "host_", "graph_")),
        "train_step_ms",
        "train_step_host_ms",
    }
    assert watch.about() == {"parameters": "float32"}


def test_a_finalist_that_waits_is_timed_without_a_graph_and_says_why(monkeypatch, gpu):
    watch = stopwatch(monkeypatch, gpu, Waits())
    watch.warm_up()
    assert {name for name in watch.measure() if "graph" in name} == set()
    assert "capturing" in watch.about()["no_graph"]


@pytest.mark.parametrize("name", sorted(find_variants()))
def test_a_model_whose_parameters_are_in_bf16_answers_as_under_autocast(name):
    """That is how CUDA serves it: nothing is cast in a call, and the router still decides in float32."""
    model = model_of(name, host={"name": "resnet"}, budget=300_000).eval()
    served, before = in_bf16(model), copy.deepcopy(model.state_dict())
    assert {p.dtype for p in served.parameters() if p.is_floating_point()} == {torch.bfloat16}
    assert all(b.dtype == a.dtype for a, b in zip(model.buffers(), served.buffers(), strict=True))
    x = digits("validation", 8).inputs
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        (wanted,), (got,) = model.outputs(x).values(), served.outputs(x).values()
    assert torch.isfinite(got).all()
    # Near-ties of an untrained router may go to another expert, of one that retrieves many above all.
    assert torch.cosine_similarity(got.flatten().float(), wanted.flatten().float(), dim=0) > 0.9
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_the_ceiling_is_of_random_numbers_in_the_runs_precision_at_sizes_that_fill_a_gpu(monkeypatch):
    made, draw = [], torch.randn

    def randn(*shape, **how):
        made.append((shape, how["dtype"]))
        return draw(2, 2)

    monkeypatch.setattr(roofline, "_best_ms", lambda part, device: 1.0)
    monkeypatch.setattr(torch, "randn", randn)
    monkeypatch.setattr(torch, "empty", lambda *shape, **how: draw(2, 2))
    for shape in roofline.ON_CUDA:
        roofline._flops(shape, CUDA, torch.bfloat16)
    assert len(made) == 6
    assert {dtype for _, dtype in made} == {torch.bfloat16}
    assert all(shape[0] >= 8192 for shape, _ in made[::2])


def test_the_ceiling_of_a_cost_is_that_of_its_runs_precision(monkeypatch):
    asked = []

    def measure(device, precision):
        asked.append(precision)
        return roofline.Roofline(1e9, 1e9)

    monkeypatch.setattr(cost, "measure_roofline", measure)
    from moebench.measures.subject import Subject

    model = model_of("sparse_topk", experts=4)
    for precision in ("bf16", "fp32"):
        subject = Subject(model, DIGITS, None, CPU, precision, {})
        cost.cost(subject, shares=[1], batches=[1], rounds=1, repeats=1, roofline=True)
    assert asked == ["bf16", "fp32"]
