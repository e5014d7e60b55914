"""What was timed, gathered over a run of pytest and written as a page, its numbers and its figure."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from turns import Rival

from moebench import machine
from moebench.measures.clock import Spread
from moebench.training.device import device_name, software_of


@dataclass(frozen=True)
class Row:
    """One layer in one case: ours in milliseconds, and each rival. asked: the least ratio asked for. absent: why."""

    layer: str
    size: str
    routing: str
    way: str
    ours: Spread
    rivals: Mapping[str, Rival]
    asked: Mapping[str, float] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Point:
    """One measurement of a curve. axis: what grows (tokens, experts or K). mib: peak memory, None if not known."""

    axis: str
    at: int
    layer: str
    ms: Spread
    mib: float | None


class Ledger:
    """Rows and points in the order in which they came."""

    def __init__(self, device: torch.device, precision: str, threads: int) -> None:
        self.device, self.precision, self.threads = device, precision, threads
        self.rows: list[Row] = []
        self.points: list[Point] = []

    def add(self, entry: Row | Point) -> None:
        """Keep a row or a point."""
        if isinstance(entry, Row):
            self.rows.append(entry)
        else:
            self.points.append(entry)

    def write(self, folder: Path) -> Path | None:
        """The page, its numbers and its figure, in a folder named after the machine; None if nothing was timed."""
        if not self.rows and not self.points:
            return None
        where = self._where()
        machine_of = f"{where['device']} {where['threads']} threads" if "threads" in where else where["device"]
        name = re.sub(r"[^a-z0-9]+", "-", machine_of.lower()).strip("-")
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        numbers = {"where": where, "rows": self.rows, "points": self.points}
        text = json.dumps(numbers, default=_plain, indent=1, sort_keys=True)
        (place / "perf.json").write_text(text + "\n", encoding="utf-8")
        if self.points:
            from curves import draw

            draw(self.points, place / "scaling.svg")
        (place / "perf.md").write_text("\n".join(self._lines(where)) + "\n", encoding="utf-8")
        return place

    def _where(self) -> dict[str, str]:
        threads = {"threads": str(self.threads)} if self.device.type == "cpu" else {}
        told = {"device": device_name(self.device), "precision": self.precision, **threads}
        told |= {**machine.versions(), **software_of(self.device)}
        for package in (
            "transformers",
            "liger-kernel",
            "soft-moe-pytorch",
            "st-moe-pytorch",
            "mixture-of-experts",
            "PEER-pytorch",
            "tutel",
        ):
            told[package] = _version(package)
        return told

    def _lines(self, where: Mapping[str, str]) -> Iterable[str]:
        yield "# Layers beside their peers"
        yield ""
        yield (
            "Made by `tox run -e perf` (`tox run -e gpu` on CUDA). Medians and quartiles. A ratio is the other's time "
            "over ours inside a round: above 1 ours is faster. All took turns in one process, each with its own "
            "parameters of the same size; tokens are made so that every router with these weights decides alike. "
            "st-moe-pytorch and mixture-of-experts drop what exceeds their capacity, and so do less."
        )
        yield ""
        yield ", ".join(f"{name} {value}" for name, value in where.items()) + "."
        for layer in dict.fromkeys(row.layer for row in self.rows):
            yield from self._table(layer)
        if self.points:
            yield from ("", "## Cost as the work grows", "", "![time and memory](scaling.svg)")

    def _table(self, layer: str) -> Iterable[str]:
        yield from ("", f"## {layer}", "")
        yield "| size | routing | pass | layer | ms | ratio | asked |"
        yield "| --- | --- | --- | --- | ---: | ---: | ---: |"
        absent: dict[str, str] = {}
        for row in (row for row in self.rows if row.layer == layer):
            case = f"| {row.size} | {row.routing or '-'} | {row.way} |"
            yield f"{case} **{layer}** | {_spread(row.ours)} | 1 | |"
            for name, rival in row.rivals.items():
                least = row.asked.get(name)
                met = "" if least is None else f"{least:.2f}{'' if rival.ratio.median >= least else ' (not met)'}"
                yield f"{case} {name} | {_spread(rival.ms)} | {_spread(rival.ratio)} | {met} |"
            absent |= {f"{name} ({row.size})": reason for name, reason in row.absent.items()}
        yield from ("", *(f"Not there: {name}: {reason}." for name, reason in absent.items()))


def _spread(of: Spread) -> str:
    return f"{of.median:.2f} ({of.low:.2f} to {of.high:.2f})"


def _plain(value: Any) -> Any:
    return {key: part for key, part in dataclasses.asdict(value).items() if key != "rounds"}


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
