"""What a task is to the rest of moebench."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, overload

if TYPE_CHECKING:
    from torch import Generator, Tensor

Part = Literal["train", "validation", "test"]
Objective = Literal["classification", "sequence", "regression", "nothing"]
"""What is learnt: classes, by cross-entropy; a sequence of classes, by its mean over places; a number, by the squared
error; or nothing: inputs to time layers on.
"""


@dataclass(frozen=True)
class Text:
    """Inputs are token ids below ``vocabulary``; the last ``answer`` places of an input are where answers are given."""

    vocabulary: int
    answer: int


@dataclass(frozen=True, kw_only=True)
class TaskInfo:
    """What can be known of a task without its data.

    image: channels, height, width; 1, 1, T of text. classes: outputs of the model, 1 for a number. metric, unit,
    higher_is_better: of the score that ranks. floor: the score that a diverged run gets, which is that of a
    constant answer. label: printed beside numbers. text: what is known of token ids, None of numbers. copies: data
    digest -> a word for a known copy of the data that is not the original, such as a re-encoding.
    """

    name: str
    image: tuple[int, int, int]
    classes: int
    objective: Objective = "classification"
    metric: str = "accuracy"
    unit: str = "share"
    higher_is_better: bool = True
    floor: float
    label: str
    text: Text | None = None
    copies: Mapping[str, str] = field(default_factory=dict, hash=False)

    def label_of(self, digest: str) -> str:
        """The label of numbers made from the data of that digest: ``CIFAR-10 (JPEG)``."""
        return f"{self.label} ({self.copies[digest]})" if digest in self.copies else self.label


@dataclass(frozen=True)
class Split:
    """One part of a data set: ``inputs`` (N, C, H, W) float32, normalised, or int64 token ids (N, 1, 1, T);
    ``targets`` (N,) int64 classes, or float32 numbers, or (N, A) int64 classes of a sequence.
    """

    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Stream:
    """Training data without an end: ``draw(count, generator)`` gives a fresh batch, on the CPU."""

    draw: Callable[[int, Generator], Split]


class Task(Protocol):
    """A data set with its split. ``data_dir`` is the directory the user named; None is the usual places."""

    @property
    def info(self) -> TaskInfo:
        """What can be known without the data."""
        ...

    @property
    def split(self) -> str:
        """How train, validation and test are told apart: part of a run's identity."""
        ...

    @property
    def augment(self) -> str | None:
        """The kind that ``augment_batch`` applies to training batches; None for none."""
        ...

    @overload
    def load(self, part: Literal["train"], data_dir: Path | None = None) -> Split | Stream: ...
    @overload
    def load(self, part: Literal["validation", "test"], data_dir: Path | None = None) -> Split: ...
    def load(self, part: Part, data_dir: Path | None = None) -> Split | Stream:
        """One part, normalised per channel by the training part's statistics. Downloads if need be.

        Only a training part may be a stream.
        """
        ...

    def digest(self, data_dir: Path | None = None) -> str:
        """Twenty hexadecimal digits of all pixels and labels. Downloads if need be."""
        ...

    def fingerprint(self, data_dir: Path | None = None) -> str:
        """A digest of path, size and time of the files: cheap, never downloads; constant for embedded data.

        DataError if the data are not there.
        """
        ...

    def label(self, data_dir: Path | None = None) -> str:
        """As ``info.label``, but for the copy of the data that is there, such as one re-encoded as JPEG."""
        ...
