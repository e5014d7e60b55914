"""The tasks that moebench knows, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from moebench.errors import UnknownNameError
from moebench.tasks.base import Image, Task, TaskInfo
from moebench.tasks.cifar import CifarSource
from moebench.tasks.digits import DigitsSource
from moebench.tasks.image_task import ImageTask
from moebench.tasks.mnist import IdxSource
from moebench.tasks.noise import NoiseTask
from moebench.tasks.norm import NormTask
from moebench.tasks.partition import OfficialTest, ThreeWay
from moebench.tasks.phonebook import SIZES, PhonebookTask
from moebench.tasks.shortest_path import ShortestPathTask
from moebench.tasks.targets import accuracy

TEN_CLASSES = 10


def ten_classes(name: str, label: str, image: Image) -> TaskInfo:
    """Images of ten classes, equally many of each."""
    targets = {"class": TEN_CLASSES}
    return TaskInfo(name=name, inputs=image, targets=targets, headline=accuracy(floor=1 / TEN_CLASSES), label=label)


_DIGITS = ImageTask(
    ten_classes("digits", "digits", Image(1, 8, 8)),
    title="digits",
    source=DigitsSource(),
    partition=ThreeWay(seed=0),
)

_FASHION_MNIST = ImageTask(
    ten_classes("fashion_mnist", "Fashion-MNIST", Image(1, 28, 28)),
    title="Fashion-MNIST",
    source=IdxSource(
        title="Fashion-MNIST",
        folders=("fashion-mnist", "fashion_mnist", "FashionMNIST/raw"),
        torchvision="FashionMNIST",
        image=(1, 28, 28),
        classes=TEN_CLASSES,
        packaged=(Path("/usr/share/datasets/fashion-mnist"),),
        package="dataset-fashion-mnist",
    ),
    partition=OfficialTest(every=6),
)

# Few enough to be learnt by heart, so that what is asked is how far test data fall behind.
_FASHION_MNIST_2K = replace(
    _FASHION_MNIST,
    info=replace(_FASHION_MNIST.info, name="fashion_mnist_2k", label="Fashion-MNIST, 2,000 to train on"),
    title="Fashion-MNIST, 2,000 to train on",
    partition=OfficialTest(every=6, keep=2_000),
)

_MNIST = ImageTask(
    ten_classes("mnist", "MNIST", Image(1, 28, 28)),
    title="MNIST",
    source=IdxSource(
        title="MNIST",
        folders=("mnist", "MNIST/raw"),
        torchvision="MNIST",
        image=(1, 28, 28),
        classes=TEN_CLASSES,
    ),
    partition=OfficialTest(every=6),
)

_CIFAR10 = ImageTask(
    # Of JPEG at quality 75: scores on it are a little lower, and no others are mixed with them.
    replace(ten_classes("cifar10", "CIFAR-10", Image(3, 32, 32)), copies={"955a793f275df35d3812": "JPEG"}),
    title="CIFAR-10",
    source=CifarSource(),
    partition=OfficialTest(every=10),
    augment="crop-flip",
)

_TASKS: tuple[Task, ...] = (
    _DIGITS,
    _FASHION_MNIST,
    _FASHION_MNIST_2K,
    _MNIST,
    _CIFAR10,
    NormTask(),
    NoiseTask(),
    *(PhonebookTask(pairs) for pairs in SIZES),
    ShortestPathTask(),
)

TASKS: Mapping[str, Task] = MappingProxyType({task.info.name: task for task in _TASKS})
"""Task objects by name."""


def get_task(name: str) -> Task:
    """The task of this name; UnknownNameError with the nearest match if there is none."""
    if name not in TASKS:
        raise UnknownNameError("task", name, TASKS)
    return TASKS[name]
