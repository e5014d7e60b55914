"""Labels out of a layer's reach while a model answers."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from moebench.errors import LayerError

if TYPE_CHECKING:
    from torch import Tensor

_answering = 0


@contextmanager
def answering() -> Iterator[None]:
    """Meanwhile labels cannot be read, nor data be loaded."""
    global _answering
    _answering += 1
    try:
        yield
    finally:
        _answering -= 1


def refuse_while_answering() -> None:
    """:class:`LayerError` while a model answers: what asks then is part of the model."""
    if _answering:
        raise LayerError(
            "it reads labels or data while it answers; a layer may decide from its input alone.", code="reads-labels"
        )


class _Open:
    """A file without a name, closed when the last who reads it is gone."""

    def __init__(self) -> None:
        self.file = tempfile.TemporaryFile()  # noqa: SIM115
        weakref.finalize(self, self.file.close)


class Sealed(Mapping[str, "Tensor"]):
    """Targets by name, read from a file without a name each time they are asked for.

    :class:`LayerError` where they are asked for while a model answers.
    """

    def __init__(self, targets: Mapping[str, Tensor]) -> None:
        self._open = _Open()
        self._places = dict[str, tuple[int, Any, tuple[int, ...]]]()
        self._changes: tuple[Callable[[Tensor], Tensor], ...] = ()
        for name, target in targets.items():
            values = target.detach().cpu().contiguous().numpy()
            self._places[name] = (self._open.file.tell(), values.dtype, values.shape)
            self._open.file.write(values.tobytes())
        self._open.file.flush()

    def each(self, change: Callable[[Tensor], Tensor]) -> Sealed:
        """``change`` applied to every target when it is read."""
        other: Sealed = object.__new__(Sealed)
        other._open, other._places, other._changes = self._open, self._places, (*self._changes, change)
        return other

    def __getitem__(self, name: str) -> Tensor:
        import numpy as np
        import torch

        refuse_while_answering()
        offset, dtype, shape = self._places[name]
        whole = np.memmap(self._open.file, dtype, "c", offset, shape) if np.prod(shape) else np.zeros(shape, dtype)
        target = torch.from_numpy(whole)
        for change in self._changes:
            target = change(target)
        return target.clone()

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)
