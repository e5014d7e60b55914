"""UCI Census-Income (KDD), which MMoE was published on: income above 50,000 dollars, and never married."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

from moebench.errors import DataError
from moebench.tasks.places import missing, roots
from moebench.tasks.table import OFFICIAL, Columns, Roles, Source, TableTask

COLUMNS = (
    *("age", "class_of_worker", "industry_code", "occupation_code", "education", "wage_per_hour", "enrolled"),
    *("marital_status", "industry", "occupation", "race", "hispanic", "sex", "union", "unemployment_reason"),
    *("full_or_part_time", "capital_gains", "capital_losses", "dividends", "tax_filer", "previous_region"),
    *("previous_state", "household_detail", "household_summary", "instance_weight", "migration_msa"),
    *("migration_region", "migration_within_region", "lived_here", "migration_sunbelt", "employees", "under_18"),
    *("birth_father", "birth_mother", "birth_self", "citizenship", "own_business", "veterans_form", "veterans"),
    *("weeks_worked", "year", "income_class"),
)
"""Of the files, in their order; the last is the income class."""

NUMBERS = ("age", "wage_per_hour", "capital_gains", "capital_losses", "dividends", "employees", "weeks_worked")
NOT_INPUTS = frozenset({"marital_status", "income_class", "instance_weight"})
"""Both targets' sources, and the weight of a row in the population."""

ROLES = Roles(
    categories={name: 64 for name in COLUMNS if name not in NOT_INPUTS and name not in NUMBERS},
    numbers=NUMBERS,
    targets={"income": "binary", "never_married": "binary"},
)

FOLDERS = ("census_income", "census-income", ".")
TRAIN, TEST = "census-income.data", "census-income.test"
TEST_PART = "5ac4cacd3ca9f1ecb10d"
"""Digest of the test part as it is served, compressed."""


class CensusSource(Source):
    """The user's files: the training and the official test part, or the test part alone; plain or with .gz behind."""

    def files(self, data_dir: Path | None) -> list[Path]:
        """The test part, and the training part before it where that is there, too."""
        for folder in (root / name for root in roots(data_dir) for name in FOLDERS):
            found = [_plain_or_gz(folder / name) for name in (TRAIN, TEST)]
            if found[1] is not None:
                return [path for path in found if path is not None]
        remedy = f"put {TRAIN} and {TEST} of the UCI repository into '{roots(data_dir)[0] / FOLDERS[0]}'"
        raise missing(self.title, roots(data_dir), remedy)

    def read(self, files: Sequence[Path]) -> Columns:
        """All rows; the official test part marked where both are there."""
        import numpy as np

        parts = [_rows(path) for path in files]
        text = np.array([row for part in parts for row in part], dtype=object)
        found = {name: text[:, place] for place, name in enumerate(COLUMNS)}
        found["income"] = (found["income_class"] == "50000+.").astype(float)
        found["never_married"] = (found["marital_status"] == "Never married").astype(float)
        if len(parts) == 2:
            found[OFFICIAL] = np.arange(len(text)) >= len(parts[0])
        return found


def _plain_or_gz(path: Path) -> Path | None:
    return next((each for each in (path, path.with_name(f"{path.name}.gz")) if each.is_file()), None)


def _rows(path: Path) -> list[list[str]]:
    """The fields of each line; :class:`DataError` names the first line that is not as it should be."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        lines = content.decode("ascii").split("\n")
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"'{path}' is damaged; fetch it again.", code="census-damaged") from error
    rows = [[each.strip() for each in line.split(",")] for line in lines if line.strip()]
    for number, row in enumerate(rows, 1):
        if len(row) != len(COLUMNS):
            raise DataError(
                f"'{path}' has {len(row)} fields in row {number:,}, not {len(COLUMNS)}; fetch it again.",
                code="census-fields",
                row=number,
            )
    return rows


CENSUS_INCOME = TableTask("census_income", ROLES, CensusSource("Census-Income"), copies={TEST_PART: "test part"})
