"""What is minimised and how it is scored, by hand on tiny tensors: a class, a sequence, a number, several targets."""

import math

import pytest
import torch
from torch.nn import functional as F

from hand_made import Toy, installed, recipe, split, train
from moebench.errors import SuiteError
from moebench.hosts import host_settings
from moebench.hosts.build import build_model
from moebench.measures.scores.final import scores_of
from moebench.tasks import Classes, Features, Headline, Image, Numbers, Sequences, Split, TaskInfo, get_task
from moebench.tasks.targets import accuracy, correct, cross_entropy

LOG3 = math.log(3)


def toy(kind, **targets):
    """A task of that kind without data."""

    class Any(kind):
        split = "none"

        def load(self, part, data_dir=None):
            raise AssertionError(part)

    task = Any()
    task.info = TaskInfo(name="any", inputs=Features(1), targets=targets, headline=accuracy(0.0), label="any")
    return task


def test_one_class_by_hand():
    """Of two classes the first is right by log 3 (3/4), wrong by log 3 (1/4), or even."""
    task = toy(Classes, digit=2)
    outputs = {"digit": torch.tensor([[LOG3, 0], [LOG3, 0], [0, 0]])}
    batch = Split(torch.zeros(3, 1), {"digit": torch.tensor([0, 1, 0])})
    nats = [math.log(4 / 3), math.log(4), math.log(2)]
    assert float(task.loss(outputs, batch)) == pytest.approx(sum(nats) / 3)
    values = task.scores(outputs, batch)
    assert values["accuracy"].tolist() == [1, 0, 1]
    assert values["loss_nats"].tolist() == pytest.approx(nats)
    assert all(value.dtype == torch.float64 for value in values.values())
    assert task.summary(values) == pytest.approx({"accuracy": 2 / 3, "loss_nats": sum(nats) / 3})
    assert task.predictions(outputs)["prediction_N"].tolist() == [0, 0, 0]
    assert (task.class_target, task.loss_unit) == ("digit", "nats")


def test_a_sequence_is_right_where_all_of_it_is_and_its_places_count_alike():
    task = toy(Sequences, text=2)
    outputs = {"text": torch.tensor([[[LOG3, 0], [0, LOG3]], [[LOG3, 0], [0, 0]]])}
    batch = Split(torch.zeros(2, 1), {"text": torch.tensor([[0, 1], [0, 1]])})
    nats = [[math.log(4 / 3), math.log(4 / 3)], [math.log(4 / 3), math.log(2)]]
    values = task.scores(outputs, batch)
    assert values["accuracy"].tolist() == [1, 0]
    for row, want in zip(values["loss_nats"].tolist(), nats, strict=True):
        assert row == pytest.approx(want)
    mean = sum(map(sum, nats)) / 4
    assert task.summary(values) == pytest.approx({"accuracy": 0.5, "loss_nats": mean})
    assert float(task.loss(outputs, batch)) == pytest.approx(mean)
    assert task.predictions(outputs)["prediction_NA"].tolist() == [[0, 1], [0, 0]]
    assert (task.class_target, task.no_class) == (None, "an input has a sequence of classes, not one")


def test_a_number_by_hand():
    task = toy(Numbers, norm=1)
    outputs, batch = (
        {"norm": torch.tensor([[1.0], [4.0]])},
        Split(torch.zeros(2, 1), {"norm": torch.tensor([1.0, 2.0])}),
    )
    assert float(task.loss(outputs, batch)) == 2.0
    values = task.scores(outputs, batch)
    assert values["mse"].tolist() == [0, 4]
    assert task.summary(values) == {"mse": 2.0, "constant_mse": 0.25}
    assert task.predictions(outputs) == {}
    assert (task.class_target, task.loss_unit) == (None, "squared")


@pytest.mark.parametrize("shape", [(1797,), (300, 4)])
def test_a_mean_of_kept_values_is_torchs_cross_entropy_of_all_logits_to_the_last_digit(shape):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(*shape, 10, generator=generator)
    target = torch.randint(10, shape, generator=generator)
    task = toy(Classes, digit=10)
    kept = torch.cat([cross_entropy(*part) for part in zip(logits.split(100), target.split(100), strict=True)])
    values = {"accuracy": correct(logits, target), "loss_nats": kept}
    assert task.summary(values)["loss_nats"] == float(F.cross_entropy(logits.double().flatten(0, -2), target.flatten()))


def test_many_classes_are_kept_whole():
    logits = torch.zeros(1, 2**15 + 2)
    logits[0, -1] = 1.0
    assert toy(Classes, token=2**15 + 2).predictions({"token": logits})["prediction_N"].tolist() == [2**15 + 1]


class Digit(Classes):
    """Which digit, and whether it is odd."""

    info = TaskInfo(
        name="digit_and_parity",
        inputs=Image(1, 8, 8),
        targets={"digit": 10, "odd": 2},
        headline=accuracy(floor=0.3),
        label="two",
    )
    split = get_task("digits").split

    def load(self, part, data_dir=None):
        given = get_task("digits").load(part, data_dir)
        digit_N = given.targets["class"]
        return Split(given.inputs, {"digit": digit_N, "odd": digit_N % 2})


def two_targets(variant="soft_moe", **settings):
    host = host_settings({"name": "single_layer", "grid": 2})
    return build_model(host, Digit.info, installed(variant), [8], settings, 0)


def test_loss_and_scores_are_means_over_targets():
    task, batch = Digit(), Digit().load("test")[:3]
    outputs = two_targets().eval().outputs(batch.inputs)
    assert {name: tuple(output.shape) for name, output in outputs.items()} == {"digit": (3, 10), "odd": (3, 2)}
    losses = [F.cross_entropy(outputs[name], batch.targets[name]) for name in outputs]
    assert float(task.loss(outputs, batch).detach()) == pytest.approx(float(sum(losses).detach()) / 2)
    right = [correct(outputs[name], batch.targets[name]) for name in outputs]
    assert torch.equal(task.scores(outputs, batch)["accuracy"], sum(right) / 2)
    assert task.predictions(outputs).keys() == {"digit_prediction_N", "odd_prediction_N"}


def test_a_host_trains_on_two_targets_and_its_record_says_why_there_is_no_class():
    task, model = Digit(), two_targets(experts=8)
    before = scores_of(model, task, task.load("validation"), None, "fp32").values
    curves = train(model, task.load("train"), recipe(steps=150, batch=64, lr=5e-3), loss=task.loss)
    scores = scores_of(model, task, task.load("validation"), task.load("test"), "fp32")
    assert curves.loss_S[-10:].mean() < 0.7 * curves.loss_S[0]
    assert scores.values["validation_accuracy"] > before["validation_accuracy"] + 0.2
    assert scores.reasons["specialization"] == "an input has several classes, not one"
    assert scores.values["load_entropy"] is not None
    assert scores.arrays.keys() == {"test_digit_prediction_N", "test_odd_prediction_N"}


def test_one_head_serves_all_targets_with_the_weights_of_one_target():
    """The head of 12 outputs is that of one target with 12, so that nothing else of the model changes."""
    host = host_settings({"name": "single_layer", "grid": 2})
    torch.manual_seed(0)
    one = host.build(Toy((1, 8, 8), 12).info)
    torch.manual_seed(0)
    two = host.build(Digit.info)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))
    assert one.state_dict().keys() == two.state_dict().keys()
    x_NCHW = torch.randn(3, 1, 8, 8)
    joined = torch.cat([*two.outputs(x_NCHW).values()], 1)
    assert torch.equal(one.outputs(x_NCHW)["class"], joined)


def test_a_direction_says_what_is_better():
    high, low = (
        Headline(name="x", unit="", higher_is_better=higher, floor=0.0).difference(3.0, 1.0) for higher in (True, False)
    )
    assert (high, low) == (2.0, -2.0)


def test_a_task_without_a_headline_cannot_rank():
    with pytest.raises(SuiteError, match="task 'noise' has no score that ranks; it only times layers"):
        _ = get_task("noise").info.ranked_by


def test_a_part_is_cut_moved_and_changed_as_a_whole():
    data = split(torch.arange(7.0).view(7, 1), torch.arange(7))
    assert len(data) == 7
    assert [len(batch) for batch in data.batches(3)] == [3, 3, 1]
    assert data[2:4].targets["class"].tolist() == [2, 3]
    assert data[torch.tensor([True] + [False] * 6)].inputs.tolist() == [[0.0]]
    assert data.each(lambda tensor: tensor + 1).targets["class"].tolist() == list(range(1, 8))
