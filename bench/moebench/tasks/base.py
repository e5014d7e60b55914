"""What a task is to the rest of moebench: its data, what is learnt on them, and how a model is judged.

N inputs of a batch or a part   C channels   H, W height and width   T tokens   D width   F features   A answers
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, get_args, overload

from moebench.errors import SuiteError, UnknownNameError
from moebench.tasks.sealed import Sealed

if TYPE_CHECKING:
    import torch
    from torch import Generator, Tensor

Part = Literal["train", "validation", "test"]

LOSS = "loss"
"""What a suite calls the loss of every task, to rank by it."""

Values = Mapping[str, "Tensor"]
"""By name, tensors whose first axis is N: a model's outputs by target, targets, values by score."""


@dataclass(frozen=True)
class Image:
    """x_NCHW, float32."""

    words: ClassVar[str] = "images"

    channels: int
    height: int
    width: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input."""
        return (self.channels, self.height, self.width)

    def __str__(self) -> str:
        return f"{self.channels} x {self.height} x {self.width}"


@dataclass(frozen=True)
class Tokens:
    """ids_NT, int64 below ``vocabulary``; the last ``answer`` tokens of an input are where answers are given."""

    words: ClassVar[str] = "token ids"

    length: int
    vocabulary: int
    answer: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input."""
        return (self.length,)

    def __str__(self) -> str:
        return f"{self.length} tokens"


@dataclass(frozen=True)
class Features:
    """x_NF, float32: ``count`` numbers."""

    words: ClassVar[str] = "features"

    count: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input."""
        return (self.count,)

    def __str__(self) -> str:
        return f"{self.count} features"


@dataclass(frozen=True)
class Vectors:
    """x_NTD, float32: ``tokens`` vectors of ``dim`` numbers."""

    words: ClassVar[str] = "vectors"

    tokens: int
    dim: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input."""
        return (self.tokens, self.dim)

    def __str__(self) -> str:
        return f"{self.tokens} x {self.dim}"


@dataclass(frozen=True)
class Table:
    """x_NF, float32: a column for each category, whose values are codes below its entry in ``categories``, then
    ``numbers`` columns of numbers.
    """

    words: ClassVar[str] = "rows of a table"

    categories: tuple[int, ...]
    numbers: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input."""
        return (len(self.categories) + self.numbers,)

    def __str__(self) -> str:
        return f"{len(self.categories)} categories and {self.numbers} numbers"


Inputs = Image | Tokens | Features | Vectors | Table
"""The shape of one input, by its kind."""


UNKNOWN = "unknown-"
"""Begins the digest of data that lie where a known data set does and are neither the original nor a known copy."""

UNKNOWN_DATA = "unknown data in the layout of "


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The score that ranks. floor: what a diverged run gets, which is the score of a constant answer.

    tie_break: another score, whose lower value decides between trials of equal headline.
    """

    name: str
    unit: str
    higher_is_better: bool
    floor: float
    tie_break: str | None = None

    def difference(self, a: float, b: float) -> float:
        """By how much ``a`` is better than ``b``."""
        return a - b if self.higher_is_better else b - a


@dataclass(frozen=True, kw_only=True)
class TaskInfo:
    """What can be known of a task without its data.

    targets: name of a target -> number of outputs that a model has for it. headline: None for a task that only times
    layers. label: printed beside numbers. copies: data digest -> a word for a known copy of the data that is not the
    original, such as a re-encoding.
    """

    name: str
    inputs: Inputs
    targets: Mapping[str, int] = field(default_factory=dict, hash=False)
    headline: Headline | None = None
    label: str
    copies: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def outputs(self) -> int:
        """Of all targets together."""
        return sum(self.targets.values())

    @property
    def ranked_by(self) -> Headline:
        """The headline; :class:`SuiteError` for a task without one."""
        if self.headline is None:
            raise SuiteError(f"task '{self.name}' has no score that ranks; it only times layers.", code="no-headline")
        return self.headline

    def label_of(self, digest: str) -> str:
        """The label of numbers made from the data of that digest: ``CIFAR-10 (JPEG)``, or that they are not known."""
        if digest.startswith(UNKNOWN):
            return f"{UNKNOWN_DATA}{self.label}"
        return f"{self.label} ({self.copies[digest]})" if digest in self.copies else self.label


@dataclass(frozen=True)
class Split:
    """One part of a data set, or a batch of it: ``inputs`` as the task's kind of input says, and for each target a
    tensor whose first axis is N: (N,) int64 classes, (N,) float32 numbers, (N, A) int64 classes of a sequence.
    groups_NT: the group of each token, int64, where the task knows one; only reference rows are shown it.
    """

    inputs: Tensor
    targets: Values
    groups_NT: Tensor | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, rows: slice | Tensor) -> Split:
        return self.each(lambda tensor: tensor[rows])

    def to(self, device: torch.device) -> Split:
        """The same on a device."""
        return self.each(lambda tensor: tensor.to(device))

    def each(self, change: Callable[[Tensor], Tensor]) -> Split:
        """``change`` applied to every tensor."""
        targets: Values
        if isinstance(self.targets, Sealed):
            targets = self.targets.each(change)
        else:
            targets = {name: change(target) for name, target in self.targets.items()}
        return Split(change(self.inputs), targets, None if self.groups_NT is None else change(self.groups_NT))

    def sealed(self) -> Split:
        """The same with targets that no layer can read while it answers: see :class:`Sealed`."""
        return Split(self.inputs, Sealed(self.targets), self.groups_NT)

    def batches(self, size: int) -> Iterator[Split]:
        """Its rows in order, so many at a time; the last may be fewer."""
        return (self[start : start + size] for start in range(0, len(self), size))


@dataclass(frozen=True)
class Stream:
    """Training data without an end: ``draw(count, generator)`` gives a fresh batch, on the CPU."""

    draw: Callable[[int, Generator], Split]

    def to(self, device: torch.device) -> Stream:
        """Itself; its batches are moved as they come."""
        return self


class Task(ABC):
    """Data, a loss and scores. A subclass sets ``info`` and ``split``, and defines :meth:`load`, :meth:`loss` and
    :meth:`scores`; the bases in ``tasks.targets`` have the last two.

    split: how train, validation and test are divided, part of a run's identity. settings: those that a suite may give,
    with their defaults; see :meth:`configured`. augment: the kind that
    ``augment_batch`` applies to training batches. loss_unit: of :meth:`loss`, such as nats. evaluation_batch: inputs of
    a pass without training. class_target: the target that is the one class of an input; None where there is no such
    class, for the reason ``no_class``. ``data_dir`` is the directory that the user named; None is the usual places.
    """

    info: TaskInfo
    split: str
    settings: Mapping[str, int | str] = {}
    augment: str | None = None
    loss_unit: str = ""
    evaluation_batch: int = 256
    no_class: str = "an input has no class"

    @property
    def class_target(self) -> str | None:
        """The target that is the one class of an input."""
        return None

    def configured(self, settings: Mapping[str, int | str]) -> Task:
        """The task with some of :attr:`settings`, which are known to be its own; its ``info.name`` says so."""
        raise NotImplementedError

    @property
    def loss_score(self) -> Headline | None:
        """The loss as a score of a part, which stands beside the headline and may rank in its place; None where there
        is none, or where it is the headline.
        """
        return None

    def score_that_ranks(self, rank_by: str | None = None) -> Headline:
        """The headline, or the score that a suite ranks by: ``loss`` or the name of either.

        :class:`UnknownNameError` for another name, :class:`SuiteError` for a task without a headline.
        """
        headline, loss = self.info.ranked_by, self.loss_score
        if rank_by is None:
            return headline
        known = {headline.name: headline} | ({loss.name: loss, LOSS: loss} if loss else {})
        if rank_by not in known:
            raise UnknownNameError("score", rank_by, known, where=f"task '{self.info.name}'")
        return known[rank_by]

    def score_beside(self, rank_by: str | None = None) -> Headline | None:
        """Of headline and loss the one that does not rank."""
        ranks = self.score_that_ranks(rank_by)
        return next((each for each in (self.info.headline, self.loss_score) if each and each != ranks), None)

    @overload
    def load(self, part: Literal["train"], data_dir: Path | None = None) -> Split | Stream: ...
    @overload
    def load(self, part: Literal["validation", "test"], data_dir: Path | None = None) -> Split: ...
    @abstractmethod
    def load(self, part: Part, data_dir: Path | None = None) -> Split | Stream:
        """One part. Downloads if need be. Only a training part may be a stream."""

    @abstractmethod
    def loss(self, outputs: Values, batch: Split) -> Tensor:
        """What training minimises: a scalar in float32, a mean over the batch. outputs: (N, ..., O) by target."""

    @abstractmethod
    def scores(self, outputs: Values, batch: Split) -> Values:
        """Values of each input by the name of the score, float64, the headline's among them; the first axis is N."""

    def summary(self, values: Values) -> dict[str, float]:
        """The scores of a whole part, from the values of all its inputs: means, where nothing else is said."""
        return {name: float(value.mean()) for name, value in values.items()}

    def predictions(self, outputs: Values) -> Values:
        """What a final run keeps of its answer to each test input; nothing by default."""
        return {}

    def token_names(self, ids: Sequence[int]) -> list[str] | None:
        """What token ids are, in a word each; None where they are not named."""
        return None

    def group_names(self, groups: Sequence[int]) -> list[str] | None:
        """What groups of tokens are, in a word each; None where they are not named."""
        return None

    def digest(self, data_dir: Path | None = None) -> str:
        """Twenty hexadecimal digits of the data. Downloads if need be. By default of the name and the split, for data
        that are drawn by the task's own code.
        """
        return digest_of(f"{self.info.name} {self.split}")

    def fingerprint(self, data_dir: Path | None = None) -> str:
        """A digest of path, size and time of the files: cheap, never downloads; DataError if they are not there. By
        default a constant, for data that no user could change.
        """
        return "drawn"

    def check_part(self, part: str) -> None:
        """:class:`UnknownNameError` for a part that no task has."""
        if part not in get_args(Part):
            raise UnknownNameError("part", part, get_args(Part), where=f"task '{self.info.name}'")


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device. To CUDA from pinned memory: from any other the host would wait until it is there."""
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def digest_of(text: str) -> str:
    """Twenty hexadecimal digits of a text that says what data are drawn by."""
    return hashlib.sha256(text.encode()).hexdigest()[:20]
