"""A user's own table: a parquet file, and a small TOML file that names its inputs and targets."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from moebench.errors import DataError, SuiteError
from moebench.tasks.base import Part, Split
from moebench.tasks.several import ALL
from moebench.tasks.table import Columns, Roles, Source, TableTask, columns_of

CODES = 64
"""Of a category that is only listed."""


class SplitByDate(BaseModel):
    """Rows before ``validation_from`` train, rows from ``test_from`` on test."""

    model_config = ConfigDict(extra="forbid")
    date: str
    validation_from: str
    test_from: str


class Description(BaseModel):
    """The TOML file. data: the parquet file, beside it; ``--data FILE`` names another. Else as :class:`Roles`."""

    model_config = ConfigDict(extra="forbid")
    title: str = "own table"
    data: str = ""
    categories: dict[str, Annotated[int, Field(ge=2)]] | list[str] = Field(default_factory=list)
    numbers: list[str] = Field(default_factory=list)
    targets: dict[str, Literal["binary", "real"]] = Field(min_length=1)
    missing: list[str] = Field(default_factory=list)
    split: SplitByDate | None = None

    def roles(self) -> Roles:
        """As the task has them."""
        named = self.categories
        return Roles(
            categories=named if isinstance(named, dict) else dict.fromkeys(named, CODES),
            numbers=tuple(self.numbers),
            targets=self.targets,
            missing=frozenset(self.missing),
            **({} if self.split is None else self.split.model_dump()),
        )


@dataclass(frozen=True)
class ParquetSource(Source):
    """One parquet file: ``--data FILE``, else the one that the description names, or of that name in ``--data DIR``."""

    beside: Path

    def files(self, data_dir: Path | None) -> list[Path]:
        """The file."""
        path = self.beside
        if data_dir is not None:
            path = data_dir if data_dir.is_file() else data_dir / self.beside.name
        if not path.is_file():
            raise DataError(f"{self.title}: there is no file '{path}'; name it with --data.", code="table-missing")
        return [path]

    def read(self, files: Sequence[Path]) -> Columns:
        """All columns."""
        import pyarrow.parquet

        try:
            return columns_of(pyarrow.parquet.read_table(files[0]))
        except (OSError, ValueError) as error:
            raise DataError(f"'{files[0]}' is not a whole parquet file.", code="table-not-parquet") from error


class OwnTableTask(TableTask):
    """The table of a description, which the setting ``description`` names: a TOML file, by its path."""

    def __init__(self, description: str = "", only: str = ALL) -> None:
        self.description = description
        found = _read(Path(description)) if description else Description(targets={"target": "real"})
        source = ParquetSource(found.title, Path(description).parent / (found.data or "table.parquet"))
        roles = found.roles()
        if description and not (roles.categories or roles.numbers):
            raise SuiteError(f"'{description}' names no inputs under 'categories' or 'numbers'.", code="no-inputs")
        super().__init__("table", roles, source, only)
        self.settings: Mapping[str, int | str] = {"description": "", "only": ALL}

    def configured(self, settings: Mapping[str, int | str]) -> OwnTableTask:
        """With a description, or one target alone."""
        return OwnTableTask(str(settings.get("description", self.description)), str(settings.get("only", self.only)))

    def load(self, part: Part, data_dir: Path | None = None) -> Split:
        """As any table; :class:`SuiteError` without a description."""
        if not self.description:
            raise SuiteError(
                "task 'table' needs the setting 'description', a TOML file that names inputs and targets.",
                code="no-description",
            )
        return super().load(part, data_dir)


def _read(path: Path) -> Description:
    """:class:`SuiteError` for a file that cannot be read or does not say what it should."""
    try:
        return Description.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SuiteError(f"'{path}' cannot be read as TOML ({error}).", code="description-unreadable") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise SuiteError(f"'{path}': '{place}': {first['msg']}.", code="description-wrong", key=place) from None


TABLE = OwnTableTask()
