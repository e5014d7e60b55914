"""Timing parts of a model: what is measured, and what it leaves as it was."""

import pytest
import torch

from hand_made import DIGITS, Plain, digits, model_of, single_layer, split
from moebench.measures.memory import held_mib
from moebench.measures.scores.timing import WARM_UP, Stopwatch
from moebench.tasks import get_task

PARTS = {"forward_ms", "forward_batch1_ms", "layers_ms", "train_step_ms"}


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["dense", "soft_moe", "sparse_topk"])
def test_every_part_takes_time_and_the_finalist_keeps_its_weights(name, precision):
    model = model_of(name)
    before = weights(model)
    stopwatch = Stopwatch(model, digits("validation"), DIGITS.loss, 16, precision, repeats=3)
    stopwatch.warm_up()
    measured = [stopwatch.measure() for _ in range(5)]
    assert all(times.keys() == PARTS for times in measured)
    assert all(value > 0 for times in measured for value in times.values())
    times = {part: min(each[part] for each in measured) for part in PARTS}  # the machine may be busy with others
    assert times["forward_batch1_ms"] < times["train_step_ms"]
    assert times["layers_ms"] < times["train_step_ms"]
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.training


def test_a_training_step_is_timed_with_the_tasks_own_loss():
    """Of a sequence, whose logits are (B, A, O). Of a causal transformer a single token is timed, too."""
    task = get_task("phonebook_256")
    host = {"name": "decoder", "dim": 16, "depth": 1, "heads": 2}
    model = model_of("dense", host=host, task="phonebook_256")
    times = Stopwatch(model, task.load("validation")[:8], task.loss, 8, "fp32", repeats=1).measure()
    assert times.keys() == PARTS | {"token_ms"}


def test_the_next_token_is_one_token_with_what_was_kept_of_all_before_it_each_time():
    task = get_task("phonebook_256")
    model = model_of("dense", host={"name": "decoder", "dim": 16, "depth": 2, "heads": 2}, task="phonebook_256")
    stopwatch = Stopwatch(model, task.load("validation")[:8], task.loss, 8, "fp32", repeats=1)
    reads, read = [], model.next_outputs

    def watched_read(ids_Bt, seen):
        reads.append((tuple(ids_Bt.shape), [each.count for each in seen]))
        return read(ids_Bt, seen)

    model.next_outputs = watched_read
    for _ in range(2):
        stopwatch.parts()["token_ms"]()
    length = task.info.inputs.length
    assert reads == [((1, 1), [length - 1] * 2)] * 2
    encoder = model_of("dense", host={"name": "encoder", "dim": 16, "depth": 1, "heads": 2}, task="phonebook_256")
    assert "token_ms" not in Stopwatch(encoder, task.load("validation")[:8], task.loss, 8, "fp32", repeats=1).parts()


def watched(data_count=5, batch=8, repeats=2):
    layer = Plain()
    model = single_layer(layer, image=(1, 1, 2), classes=2, grid=1)
    data = split(torch.arange(2.0 * data_count).view(-1, 1, 1, 2), torch.arange(data_count) % 2)
    return layer, Stopwatch(model, data, DIGITS.loss, batch, "fp32", repeats)


def test_the_batch_is_filled_from_the_beginning_where_data_are_few():
    layer, stopwatch = watched()
    stopwatch.parts()["forward_ms"]()
    assert layer.seen[-1][:, 0, 0].tolist() == [0, 2, 4, 6, 8, 0, 2, 4]
    stopwatch.parts()["forward_batch1_ms"]()
    assert layer.seen[-1][:, 0, 0].tolist() == [0]


def test_a_training_step_trains_a_copy_with_all_that_the_loop_does():
    layer, stopwatch = watched()
    copied = stopwatch._trained.layers()[0]
    stopwatch.parts()["train_step_ms"]()
    assert copied is not layer
    assert len(copied.after_steps) == 1
    assert copied.level < layer.level  # its auxiliary loss has a gradient
    assert copied.modes[-1]
    assert layer.after_steps == []
    assert not any(layer.modes)


def test_each_part_is_called_as_often_as_asked():
    layer, stopwatch = watched(repeats=4)
    met = len(layer.seen)
    stopwatch.warm_up()
    assert len(layer.seen) - met == 3 * WARM_UP
    stopwatch.measure()
    assert len(layer.seen) - met == 3 * WARM_UP + 3 * 4
    assert len(stopwatch._trained.layers()[0].after_steps) == WARM_UP + 4


def test_memory_with_the_model_is_what_it_holds_and_by_how_much_a_pass_grows():
    model = model_of("sparse_topk", budget=30_000)
    bytes_held = 4 * sum(tensor.numel() for tensor in (*model.parameters(), *model.buffers()))
    assert held_mib(model) == pytest.approx(bytes_held / 2**20)
    found = Stopwatch(model, digits("validation"), DIGITS.loss, 64, "fp32", repeats=1).memory()
    if found["peak_memory_mib"] is None:
        pytest.skip("this system does not report it")
    assert found["resident_memory_mib"] == pytest.approx(held_mib(model) + found["peak_memory_mib"])
    assert held_mib(model) <= found["resident_memory_batch1_mib"]


class Hungry(Plain):
    """Needs half a MiB for an input."""

    def compute(self, x_BTD, routing, keep_BE=None):
        self.much = torch.ones(len(x_BTD), 2**17)
        return x_BTD + self.much[:, :1].unsqueeze(2) * 0


def test_memory_is_of_each_batch():
    model = single_layer(Hungry(), image=(1, 4, 2), classes=2, grid=2)
    data = split(torch.zeros(64, 1, 4, 2), torch.zeros(64, dtype=torch.long))
    found = Stopwatch(model, data, DIGITS.loss, 64, "fp32", repeats=1).memory()
    if found["peak_memory_mib"] is None:
        pytest.skip("this system does not report it")
    assert found["peak_memory_mib"] > 24
    assert found["resident_memory_batch1_mib"] < 8
