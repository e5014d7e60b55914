"""Tables as tasks: which columns are inputs and targets, how rows are divided, and how values become numbers.

N rows   F columns of inputs   V targets
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moebench.errors import DataError
from moebench.tasks.base import Part, Split, Table, TaskInfo, digest_of
from moebench.tasks.places import cache_dir, file_fingerprint
from moebench.tasks.several import ALL, SeveralTargets, mean_score, plain_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PARTS: tuple[Part, ...] = ("train", "validation", "test")
OFFICIAL = "official_test"
"""A column that a source may give: True for the rows of a test part that comes with the data."""

VERSION = "1"
"""Raised when the meaning of what is cached changes."""

Columns = Mapping[str, "NDArray[Any]"]
"""Column -> its values: strings (None where missing), or float64 numbers (NaN where missing)."""


@dataclass(frozen=True, kw_only=True)
class Roles:
    """What the columns of a table are for.

    categories: column -> number of codes; 0 is for values that are rare or not in the training part, 1 for the most
    frequent there. numbers: standardised by mean and deviation of the training part. targets: name -> "binary" (0 or 1)
    or "real"; the column is the name without its category. missing: columns that may have gaps; a gap becomes code 0,
    or the mean; a target with gaps is not learnt there. date: the column that divides rows, training before
    ``validation_from``, test from ``test_from`` on, compared as text (2013-09-01); without it 60/20/20 at random.
    """

    categories: Mapping[str, int]
    numbers: Sequence[str]
    targets: Mapping[str, str]
    missing: frozenset[str] = frozenset()
    date: str | None = None
    validation_from: str = ""
    test_from: str = ""

    @property
    def split(self) -> str:
        """The division in words."""
        if self.date is None:
            return "60/20/20 seed 0; of an official test part 5/1 of the rest"
        return f"by {self.date}: validation from {self.validation_from}, test from {self.test_from}"

    @property
    def used(self) -> list[str]:
        """Every column that has to be there."""
        date = [] if self.date is None else [self.date]
        return [*self.categories, *self.numbers, *map(plain_name, self.targets), *date]


@dataclass(frozen=True)
class Source(ABC):
    """Where a table comes from. title: what people call it."""

    title: str

    @abstractmethod
    def files(self, data_dir: Path | None) -> list[Path]:
        """The files; :class:`DataError` where they are missing."""

    @abstractmethod
    def read(self, files: Sequence[Path]) -> Columns:
        """The columns that roles name, all of one length."""


@dataclass(frozen=True, eq=False)
class Coded:
    """A table as numbers: x_NF, y_NV and the part of each row, an index of :data:`PARTS`."""

    x_NF: NDArray[np.float32]
    y_NV: NDArray[np.float32]
    part_N: NDArray[np.int8]


class TableTask(SeveralTargets):
    """The rows of a table with several targets. settings: ``only``, one target alone."""

    def __init__(
        self, name: str, roles: Roles, source: Source, only: str = ALL, copies: Mapping[str, str] | None = None
    ) -> None:
        self.base, self.roles, self.source, self.only, self.copies = name, roles, source, only, dict(copies or {})
        self.settings = {"only": ALL}
        self.kinds = dict(roles.targets)
        info = TaskInfo(
            name=self._named(name, {"only": only}),
            inputs=Table(tuple(roles.categories.values()), len(roles.numbers)),
            targets=dict.fromkeys(roles.targets, 1),
            headline=mean_score([*roles.targets.values()]),
            label=source.title,
            copies=self.copies,
        )
        self.info = self._restricted(info, only)
        self.split = roles.split

    def configured(self, settings: Mapping[str, int | str]) -> TableTask:
        """One target alone."""
        return TableTask(self.base, self.roles, self.source, str(settings.get("only", self.only)), self.copies)

    def load(self, part: Part, data_dir: Path | None = None) -> Split:
        """x_NF, and y_N of each target; :class:`DataError` where the table is not what its roles say."""
        import torch

        self.check_part(part)
        coded = self._coded(data_dir)
        rows_N = coded.part_N == PARTS.index(part)
        places = {name: place for place, name in enumerate(self.roles.targets)}
        targets = {name: torch.from_numpy(coded.y_NV[rows_N, places[name]]) for name in self.info.targets}
        return Split(torch.from_numpy(coded.x_NF[rows_N]), targets)

    def digest(self, data_dir: Path | None = None) -> str:
        """Twenty hexadecimal digits of the files' bytes. :class:`DataError` as for :meth:`load`: plans ask for the
        digest, so that a table which is not what its roles say is refused before the first run.
        """
        found = hashlib.sha256()
        for path in self.source.files(data_dir):
            found.update(path.read_bytes())
        self._coded(data_dir)
        return found.hexdigest()[:20]

    def fingerprint(self, data_dir: Path | None = None) -> str:
        """Of path, size and time of the files."""
        return file_fingerprint(self.source.files(data_dir))

    @property
    def roles_key(self) -> str:
        """Twenty hexadecimal digits of the roles."""
        return digest_of(f"{VERSION} {self.roles}")

    def _coded(self, data_dir: Path | None) -> Coded:
        return _coded(self.roles_key, self.fingerprint(data_dir), self, data_dir)

    def code(self, data_dir: Path | None) -> Coded:
        """Read the files and make numbers of them."""
        return coded(self.source.read(self.source.files(data_dir)), self.roles, self.source.title)


@lru_cache(maxsize=2)
def _coded(roles: str, fingerprint: str, task: TableTask, data_dir: Path | None) -> Coded:
    """From the user's cache where files of this fingerprint were coded before; one that cannot be read or written is
    done without.
    """
    import numpy as np

    path = cache_dir() / "coded" / f"{fingerprint}-{roles}.npz"
    with contextlib.suppress(OSError, ValueError, KeyError, EOFError), np.load(path) as found:
        return Coded(found["x_NF"], found["y_NV"], found["part_N"])
    made = task.code(data_dir)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(dir=path.parent, suffix=".npz")
        with os.fdopen(handle, "wb") as file:
            np.savez(file, x_NF=made.x_NF, y_NV=made.y_NV, part_N=made.part_N)
        os.replace(scratch, path)
    return made


def coded(columns: Columns, roles: Roles, title: str) -> Coded:
    """Numbers of a table; :class:`DataError` in one sentence for whatever is not as the roles say."""
    import numpy as np

    for name in roles.used:
        if name not in columns:
            raise DataError(
                f"{title} has no column '{name}'; it has: {', '.join(sorted(columns))}.", code="no-column", column=name
            )
    part_N = _parts(columns, roles, title)
    inputs = [_codes(columns[name], codes, part_N, roles, title, name) for name, codes in roles.categories.items()]
    inputs += [_standardised(columns[name], part_N, roles, title, name) for name in roles.numbers]
    targets = [_target(columns[plain_name(name)], kind, part_N, roles, title, plain_name(name))
               for name, kind in roles.targets.items()]  # fmt: skip
    return Coded(np.stack(inputs, 1).astype("float32"), np.stack(targets, 1).astype("float32"), part_N)


def _parts(columns: Columns, roles: Roles, title: str) -> NDArray[np.int8]:
    """The part of each row; :class:`DataError` where one is empty."""
    import numpy as np

    count = len(columns[roles.used[0]])
    if roles.date is not None:
        gap_N = _gaps(columns[roles.date])
        if gap_N.any():  # as text a gap would sort somewhere
            raise DataError(
                f"{title}: {int(gap_N.sum()):,} rows have no date in the column '{roles.date}', which divides rows.",
                code="date-gaps",
                column=roles.date,
            )
        day_N = columns[roles.date].astype(str)
        part_N = (day_N >= roles.validation_from).astype("int8") + (day_N >= roles.test_from)
        how = f"column '{roles.date}' from {roles.validation_from} and {roles.test_from}"
    else:
        part_N = _at_random(count, columns.get(OFFICIAL))
        how = "60/20/20"
    for place, part in enumerate(PARTS):
        if not (part_N == place).any():
            raise DataError(
                f"{title}: dividing its {count:,} rows by {how} leaves the {part} part empty.",
                code="part-empty",
                part=part,
            )
    return np.asarray(part_N, dtype="int8")


def _at_random(count: int, test_N: NDArray[Any] | None) -> NDArray[np.int8]:
    """60/20/20; with an official test part a sixth of the rest for validation. RandomState's stream never changes."""
    import numpy as np

    order_N = np.random.RandomState(0).permutation(count)
    part_N = np.zeros(count, dtype="int8")
    if test_N is None:
        part_N[order_N[: count // 5]], part_N[order_N[count // 5 : 2 * (count // 5)]] = 2, 1
        return part_N
    rest_n = order_N[~test_N[order_N]]
    part_N[test_N], part_N[rest_n[: len(rest_n) // 6]] = 2, 1
    return part_N


def _codes(
    value_N: NDArray[Any], codes: int, part_N: NDArray[np.int8], roles: Roles, title: str, name: str
) -> NDArray[Any]:
    """Codes by how often a value is in the training part; 0 for what is rare, missing or not there."""
    import numpy as np

    gap_N = _gaps(value_N)
    _refuse_gaps(gap_N, roles, title, name)
    text_N = value_N.astype(str)
    found, counts = np.unique(text_N[(part_N == 0) & ~gap_N], return_counts=True)
    kept = found[np.argsort(-counts, kind="stable")][: codes - 1]
    code_of = {value: code for code, value in enumerate(kept.tolist(), 1)}
    return np.where(gap_N, 0, np.array([code_of.get(value, 0) for value in text_N.tolist()]))


def _standardised(value_N: NDArray[Any], part_N: NDArray[np.int8], roles: Roles, title: str, name: str) -> NDArray[Any]:
    """Mean 0 and deviation 1 in the training part; a gap is 0, the mean."""
    import numpy as np

    number_N = _numbers(value_N, title, name)
    _refuse_gaps(np.isnan(number_N), roles, title, name)
    scaled_N: NDArray[Any] = np.nan_to_num(_scaled(number_N, part_N))
    return scaled_N


def _target(
    value_N: NDArray[Any], kind: str, part_N: NDArray[np.int8], roles: Roles, title: str, name: str
) -> NDArray[Any]:
    """0 and 1, or a standardised number; NaN at a gap."""
    import numpy as np

    number_N = _numbers(value_N, title, name)
    gap_N = np.isnan(number_N)
    _refuse_gaps(gap_N, roles, title, name)
    if kind == "binary" and not np.isin(number_N[~gap_N], (0, 1)).all():
        raise DataError(
            f"{title}: the binary target '{name}' has values beside 0 and 1.", code="not-binary", column=name
        )
    for place, part in enumerate(PARTS):
        if len(np.unique(number_N[(part_N == place) & ~gap_N])) < 2:
            raise DataError(
                f"{title}: the target '{name}' has one {'class' if kind == 'binary' else 'value'} in the {part} part; "
                "nothing can be learnt or scored there.",
                code="one-class",
                column=name,
                part=part,
            )
    if kind == "real":
        return _scaled(number_N, part_N)
    return number_N


def _scaled(number_N: NDArray[Any], part_N: NDArray[np.int8]) -> NDArray[Any]:
    import numpy as np

    known_n = number_N[(part_N == 0) & ~np.isnan(number_N)]
    return (number_N - (known_n.mean() if len(known_n) else 0.0)) / ((known_n.std() if len(known_n) else 0.0) or 1.0)


def _numbers(value_N: NDArray[Any], title: str, name: str) -> NDArray[Any]:
    """As float64; :class:`DataError` for text, and for what float32 cannot hold."""
    import numpy as np

    try:
        number_N: NDArray[Any] = value_N.astype("float64")
    except (TypeError, ValueError):
        raise DataError(
            f"{title}: the column '{name}' holds other than numbers.", code="not-numbers", column=name
        ) from None
    if too_large := int((np.abs(number_N) > np.finfo("float32").max).sum()):
        raise DataError(
            f"{title}: the column '{name}' holds {too_large:,} numbers that are infinite, or too large for float32.",
            code="not-finite",
            column=name,
        )
    return number_N


def _gaps(value_N: NDArray[Any]) -> NDArray[np.bool_]:
    """Where a column has None or NaN."""
    import numpy as np

    return np.array([value is None or value != value for value in value_N.tolist()], dtype=bool)


def _refuse_gaps(gap_N: NDArray[Any], roles: Roles, title: str, name: str) -> None:
    if gap_N.any() and name not in roles.missing:
        raise DataError(
            f"{title}: the column '{name}' has {int(gap_N.sum()):,} missing values; name it under 'missing' where that "
            "is meant.",
            code="undeclared-gaps",
            column=name,
        )


def columns_of(table: Any) -> dict[str, NDArray[Any]]:
    """The columns of a ``pyarrow.Table``: numbers and truth values as float64, all else as text."""
    import numpy as np
    import pyarrow.types as kinds

    found = {}
    for name in table.column_names:
        column = table.column(name)
        if kinds.is_integer(column.type) or kinds.is_floating(column.type) or kinds.is_boolean(column.type):
            found[name] = column.cast("float64").to_numpy().astype("float64")
        else:
            found[name] = np.array(
                [None if value is None else str(value) for value in column.to_pylist()], dtype=object
            )
    return found
