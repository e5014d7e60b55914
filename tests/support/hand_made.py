"""Small models and layers whose behaviour is known by hand."""

from collections.abc import Callable
from types import SimpleNamespace

import torch
from torch import nn

from moebench.budgets import Budget, solve
from moebench.contract import Layer, Routing, Variant
from moebench.hosts import host_settings, layer_shapes
from moebench.hosts.build import build_model
from moebench.plugins.find import find_variant
from moebench.plugins.load import load_variant
from moebench.tasks import Classes, Image, Split, TaskInfo, get_task
from moebench.tasks.targets import accuracy as accuracy_above
from moebench.tasks.targets import correct
from moebench.training import loop
from moebench.training.evaluate import evaluate, outputs_of
from moebench.training.recipe import Recipe

QUICK_HOST = {"name": "vit", "dim": 64, "depth": 2, "heads": 4, "patch": 2}
QUICK_BUDGET = 264_000
SMALL_HOST = {"name": "vit", "dim": 16, "depth": 2, "heads": 2, "patch": 4}
SMALL_BUDGET = 9_000


DIGITS = get_task("digits")


def toy_task(image, classes):
    headline = accuracy_above(floor=1 / classes)
    return TaskInfo(name="toy", inputs=Image(*image), targets={"class": classes}, headline=headline, label="toy")


class Toy(Classes):
    """A task of one class for each image, whose data are given."""

    split = "toy"

    def __init__(self, image=(1, 1, 2), classes=2, data=None):
        self.info, self.data = toy_task(image, classes), data

    def load(self, part, data_dir=None):
        return self.data


def split(inputs, classes_N):
    """Inputs with one class each."""
    return Split(inputs, {"class": classes_N})


def train(model, data, recipe, *rest, loss=DIGITS.loss, **how):
    """Train on classes, unless another loss is given."""
    return loop.train(model, data, recipe, loss, *rest, **how)


def answer(model, data, **how):
    """All logits of a model of one target, and the masses."""
    found = evaluate(model, data, outputs_of, **how)
    (logits_NC,) = found.values.values()
    return SimpleNamespace(logits_NC=logits_NC, masses=found.masses)


def accuracy(logits_NC, class_N):
    """Share answered right."""
    return float(correct(logits_NC, class_N).mean())


def recipe(**changes):
    usual = {
        "steps": 4,
        "batch": 16,
        "micro_batch": None,
        "lr": 1e-3,
        "weight_decay": 0.0,
        "loss_weights": {},
        "precision": "fp32",
        "augment": None,
        "seed": 5,
    }
    return Recipe(**{**usual, **changes})


def installed(name):
    return load_variant(find_variant(name))


def model_of(name, *, host=None, budget=SMALL_BUDGET, seed=1, task="digits", **settings):
    """An untrained model of an installed variant, its sizes solved for the budget."""
    chosen, info, variant = host_settings(host or SMALL_HOST), get_task(task).info, installed(name)
    shapes = layer_shapes(chosen, info)
    sizes = solve(variant, Budget("total", budget, shapes), settings).sizes
    return build_model(chosen, info, variant, sizes, settings, seed)


def digits(part, count=None):
    return DIGITS.load(part)[:count]


def single_layer(layer, *, image, classes, head=None, **settings):
    """The paper's host around one layer, with a head given as its weight (classes, pixels) and no bias."""
    host = host_settings({"name": "single_layer", **settings}).build(toy_task(image, classes))
    host.attach([layer])
    if head is not None:
        with torch.no_grad():
            host.head.weight.copy_(head)
            host.head.bias.zero_()
    return host.eval()


def numbered(count):
    """``count`` inputs, each an image of its own number."""
    return split(torch.arange(float(count)).view(count, 1, 1, 1).expand(count, 1, 1, 2), torch.arange(count) % 2)


def numbered_model(layer):
    torch.manual_seed(0)
    return single_layer(layer, image=(1, 1, 2), classes=2, grid=1)


def one_hots(targets_N, classes):
    """Images (N, 1, 1, classes) with a one at the input's class."""
    x_NC = nn.functional.one_hot(torch.as_tensor(targets_N), classes).float()
    return split(x_NC.view(len(x_NC), 1, 1, classes), torch.as_tensor(targets_N))


class Table(Layer):
    """Expert e answers every token with row e of ``value_EO``, or with echo_E[e] times the token, or their sum.

    mass_BE = mass_of(x_BTD); y_BTO = sum over kept experts of mass x answer. Counts the inputs it met.
    """

    def __init__(self, mass_of: Callable, value_EO, echo=0.0):
        super().__init__()
        self.mass_of, self.num_experts, self.inputs_met = mass_of, len(value_EO), 0
        self.value_EO = nn.Parameter(torch.as_tensor(value_EO, dtype=torch.float32))
        self.echo_E = torch.as_tensor(echo, dtype=torch.float32).expand(self.num_experts)

    def route(self, x_BTD, context):
        self.inputs_met += len(x_BTD)
        return Routing.soft(self.mass_of(x_BTD).unsqueeze(1))  # as if of one token

    def compute(self, x_BTD, routing, keep_BE=None):
        gate_BE = routing.mass_BE if keep_BE is None else routing.mass_BE * keep_BE
        return (gate_BE @ self.value_EO).unsqueeze(1) + (gate_BE @ self.echo_E)[:, None, None] * x_BTD


class Plain(Layer):
    """y = x, without experts; its raw loss is its parameter ``level``. Remembers what it met."""

    def __init__(self, loss_name="level"):
        super().__init__()
        self.loss_name = loss_name
        self.level = nn.Parameter(torch.tensor(1.0))
        self.seen, self.after_steps, self.modes = [], [], []

    def route(self, x_BTD, context):
        self.seen.append(x_BTD.detach().clone())
        self.modes.append(self.training)
        return Routing(losses={self.loss_name: self.level.clone()})

    def compute(self, x_BTD, routing, keep_BE=None):
        return x_BTD

    def after_step(self):
        self.after_steps.append(float(self.level.detach()))


class Built(Variant):
    """A variant that hands out what ``make(shape)`` makes, and remembers the shapes it was asked for."""

    def __init__(self, make: Callable, name: str = "built"):
        self.make, self.name, self.shapes = make, name, []

    def build(self, shape, size):
        self.shapes.append(shape)
        return self.make(shape)


def always(*mass):
    """A mass_of that gives every input the same masses."""
    return lambda x_BTD: torch.tensor(mass, dtype=torch.float32).expand(len(x_BTD), -1)


def own_expert(x_BTD):
    """A mass_of that sends a one-hot image to the expert of its class."""
    return x_BTD[:, 0].clone()
