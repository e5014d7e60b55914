"""What was measured, in the order in which it was, and the page and the numbers that are made of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from moebench import machine


@dataclass(frozen=True)
class Throughput:
    """Of one way to run trainings of one thread. runs_an_hour, and times what one local worker did beside it."""

    way: str
    runs_an_hour: float
    times: float


@dataclass(frozen=True)
class Cost:
    """One number. asked: the most that it may be."""

    what: str
    value: float
    unit: str
    asked: float


class Measured:
    """Of this machine."""

    def __init__(self) -> None:
        self.throughputs: list[Throughput] = []
        self.costs: list[Cost] = []

    def write(self, folder: Path) -> Path:
        """The page and its numbers, in a folder named after the machine."""
        where = {"machine": machine.cpu_model(), "cores": machine.cores(), **machine.versions()}
        place = folder / re.sub(r"[^a-z0-9]+", "-", f"{where['machine']} {where['cores']} cores".lower()).strip("-")
        place.mkdir(parents=True, exist_ok=True)
        numbers = {
            "where": where,
            "throughput": list(map(asdict, self.throughputs)),
            "cost": list(map(asdict, self.costs)),
        }
        (place / "scaling.json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
        (place / "scaling.md").write_text("\n".join(self._lines(where)) + "\n", encoding="utf-8")
        return place

    def _lines(self, where: dict[str, object]) -> Iterable[str]:
        yield from ("# What running many costs", "", "Made by `tox run -e scaling`, on a quiet machine.", "")
        yield ", ".join(f"{name} {value}" for name, value in where.items()) + "."
        if self.costs:
            yield from ("", "| cost | measured | asked |", "| --- | ---: | ---: |")
            for cost in self.costs:
                yield f"| {cost.what} | {cost.value:.3g} {cost.unit} | {cost.asked:g} {cost.unit} |"
        if self.throughputs:
            yield from ("", "| trainings of one thread | runs an hour | times one local worker |")
            yield "| --- | ---: | ---: |"
            for each in self.throughputs:
                yield f"| {each.way} | {each.runs_an_hour:.0f} | {each.times:.2f} |"
