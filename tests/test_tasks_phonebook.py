"""The phone books, and how a sequence of classes is learnt and scored."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from hand_made import model_of, recipe, train
from moebench.contract import Layer, Routing
from moebench.errors import UnknownNameError
from moebench.measures.scores.final import scores_of
from moebench.tasks import Split, get_task
from moebench.tasks.phonebook import DIGITS, LETTERS, NAME, NUMBER, PhonebookTask, entries
from moebench.tasks.targets import correct

HOST = {"name": "decoder", "dim": 32, "depth": 1, "heads": 2}


BOOKS = (256, 1024, 2435, 16384)


@pytest.mark.parametrize("pairs", BOOKS)
def test_no_name_comes_twice(pairs):
    tokens_NT = entries(pairs)
    assert tokens_NT.shape == (pairs, NAME + NUMBER)
    assert len({tuple(row) for row in tokens_NT[:, :NAME]}) == pairs
    assert 0 <= tokens_NT[:, :NAME].min() <= tokens_NT[:, :NAME].max() < LETTERS
    assert LETTERS <= tokens_NT[:, NAME:].min() <= tokens_NT[:, NAME:].max() < LETTERS + DIGITS


def test_a_number_cannot_be_told_from_the_name_or_from_its_other_digits():
    """Digits are even, and neighbours are independent, within five standard errors."""
    tokens_NT = entries(BOOKS[-1])
    digits_NA = tokens_NT[:, NAME:] - LETTERS
    count = len(digits_NA)
    assert np.abs(np.bincount(digits_NA.flatten(), minlength=10) / digits_NA.size - 0.1).max() < 5 * 0.3 / count**0.5
    for before, after in ((tokens_NT[:, NAME - 1] % 10, digits_NA[:, 0]), (digits_NA[:, 0], digits_NA[:, 1])):
        joint = np.bincount(10 * before + after, minlength=100).reshape(10, 10)
        expected = joint.sum(1, keepdims=True) / 10
        assert ((joint - expected) ** 2 / expected).sum() < 90 + 5 * math.sqrt(2 * 90)


def test_a_book_begins_with_the_smaller_ones_and_is_that_of_published_results():
    assert np.array_equal(entries(512)[:256], entries(256))
    assert entries(2).tolist() == [[25, 0, 0, 1, 27, 32, 29, 33], [4, 11, 12, 17, 28, 34, 35, 34]]
    assert get_task("phonebook_256").digest() == "20afc9bf8c8b9994abea"


def test_it_is_asked_for_what_it_was_trained_on():
    task = get_task("phonebook_256")
    train_data, test = task.load("train"), task.load("test")
    assert torch.equal(train_data.inputs, test.inputs)
    assert torch.equal(train_data.targets["number"], task.load("validation").targets["number"])
    assert test.inputs.shape == (256, task.info.inputs.length)
    assert test.inputs.dtype == test.targets["number"].dtype == torch.int64
    row = torch.cat([test.inputs[7], test.targets["number"][7, -1:]])
    assert torch.equal(row[NAME:], test.targets["number"][7])
    assert row.tolist() == entries(256)[7].tolist()
    assert "closed book: the same 256 pairs in every part" in task.split
    with pytest.raises(UnknownNameError, match="unknown part 'valid' in task 'phonebook_256'"):
        task.load("valid")
    with pytest.raises(UnknownNameError, match="unknown task 'phonebook_255'; did you mean 'phonebook_256'"):
        get_task("phonebook_255")


class Says(nn.Module):
    """Answers every input with the classes 0, 1."""

    shows_groups = False

    def run(self, x, call):
        call.inputs.append(torch.zeros(len(x), 1, 2))
        call.routings.append(Routing())
        return {"number": torch.tensor([[[9.0, 0, 0], [0, 9, 0]]]).expand(len(x), 2, 3)}

    def layers(self):
        return [Layer()]


def test_the_scores_of_a_sequence():
    task = PhonebookTask(64)
    data = Split(torch.zeros(2, 4, dtype=torch.int64), {"number": torch.tensor([[0, 1], [0, 2]])})
    tuning = scores_of(Says(), task, data, None, "fp32")
    assert set(tuning.values) == {"validation_accuracy", "validation_loss_nats"}
    assert tuning.values["validation_accuracy"] == 0.5
    final = scores_of(Says(), task, data, data, "fp32")
    assert final.values["test_accuracy"] == 0.5
    assert final.arrays["test_prediction_NA"].tolist() == [[0, 1], [0, 1]]
    assert final.values["specialization"] is None


def test_what_it_would_write_by_itself_is_right_where_the_one_pass_is():
    """Token by token, each after those that it wrote: a causal model needs no second pass for it."""
    task = PhonebookTask(64)
    model = model_of("sparse_topk", host=HOST, budget=19_752, task="phonebook_256", experts=8)
    given = recipe(steps=25, batch=64, lr=1e-2)
    train(model, task.load("train"), given)
    data = task.load("test")
    final = scores_of(model, task, data, data, "fp32")
    assert final.reasons["specialization"] == "an input has a sequence of classes, not one"
    assert 0 < final.values["load_entropy"] <= 1
    with torch.no_grad():
        right = correct(model.outputs(data.inputs)["number"], data.targets["number"])
        ids_NT = data.inputs.clone()
        ids_NT[:, NAME:] = 0
        for place in range(NUMBER):
            written_N = model.outputs(ids_NT)["number"][:, place].argmax(1)
            if place < NUMBER - 1:
                ids_NT[:, NAME + place] = written_N
        by_itself = torch.cat([ids_NT[:, NAME:], written_N[:, None]], 1)
    assert 0.05 < float(right.mean()) < 0.95
    assert torch.equal((by_itself == data.targets["number"]).all(1).double(), right)


def test_a_small_book_is_learnt_by_heart():
    task = PhonebookTask(64)
    model = model_of("dense", host=HOST, budget=8_000, task="phonebook_256")
    curves = train(model, task.load("train"), recipe(steps=250, batch=64, lr=1e-2))
    scores = scores_of(model, task, task.load("validation"), task.load("test"), "fp32")
    assert scores.values["test_accuracy"] > 0.95
    assert curves.loss_S[0] == pytest.approx(math.log(36), rel=0.1)
    assert scores.reasons["specialization"] == "no experts"
