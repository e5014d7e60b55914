"""All that a GPU is to show, in one call on a machine that has torch, timm and a folder of wheels, and no network:

    python tests/gpu/campaign.py --out OUT --wheels WHEELS --text TEXT --seconds 540

The tests of tests/gpu, ceilings of the device, of tests/perf the sizes that a GPU is to be measured at, as much of the
suite gpu-text as fits, then the other layers of tests/perf, which may stay open. OUT then has at most eight files of 16
MiB; ``--carried OUT`` of the next call goes on from there. What cannot run is named in ``state.json`` with the reason,
and the rest goes on; what failed is repeated only where ``--again`` names it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import tomllib
import traceback
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

MOST_FILES = 8
MOST_BYTES = 16 << 20
PART_BYTES = 15 << 20
"""Of a part, before its last file and the end of the archive."""

PACKING_SECONDS = 30.0
"""Kept for the board's end and for packing."""

ENDING_SECONDS = 10.0
"""For a stage that outlasted its time to write what it has."""

LIMITS = {"tests": 180.0, "perf": 300.0}
"""Seconds that a stage may take."""

NEEDS = {"tests": "pytest", "perf": "pytest", "layers": "pytest"}

TARGETS = "wide or broad or narrow"
"""Sizes of tests/perf at which a GPU is to reach something."""

DUE = ("tests", "ceilings", "perf", "suite")
"""Stages without which another call is needed."""


@dataclass
class Campaign:
    """One call. state: by stage ``done`` or why not; kept from call to call."""

    out: Path
    work: Path
    device: str
    suite: str
    text: Path | None
    dry: bool
    until: float
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def results(self) -> Path:
        """Of the suite."""
        return self.work / "results"

    @property
    def left(self) -> float:
        """Seconds until packing must begin."""
        return self.until - PACKING_SECONDS - time.monotonic()

    def run(self) -> None:
        """Every stage that is not done and has not failed, in the order of what is missed most."""
        stages = {"tests": self.tests, "ceilings": self.ceilings, "perf": self.perf, "suite": self.compare}
        stages["layers"] = self.layers
        for name, stage in stages.items():
            if self.state.get(name, "").startswith(("done", "failed")):
                continue
            if NEEDS.get(name) and importlib.util.find_spec(NEEDS[name]) is None:
                self.state[name] = f"skipped: there is no {NEEDS[name]}"
                continue
            began = time.monotonic()
            try:
                self.state[name] = stage()
            except Exception as error:  # whatever breaks in one, the others go on
                self.say(traceback.format_exc())
                self.state[name] = f"failed: {type(error).__name__}: {error}"
            self.say(f"{name}: {self.state[name]} ({time.monotonic() - began:.0f} s)")

    def tests(self) -> str:
        """Of tests/gpu."""
        return self.pytest("tests", "tests/gpu")

    def perf(self) -> str:
        """Layers beside public ones, at the sizes that matter, of trained routers first."""
        return self.times("perf", TARGETS)

    def layers(self) -> str:
        """The same at all other sizes."""
        return self.times("layers", f"not ({TARGETS})")

    def times(self, stage: str, which: str) -> str:
        """Some of the table of times."""
        where = ["--device", self.device, "--publish", str(self.work / stage)]
        return self.pytest(stage, "tests/perf/test_layers.py", "-k", which, *where)

    def pytest(self, stage: str, *words: str) -> str:
        """A stage that is tests."""
        stand_in = [] if importlib.util.find_spec("pytest_benchmark") else ["-p", "stand_in_benchmark"]
        dry = ["--collect-only"] if self.dry else []
        return self.call(stage, "pytest", "-q", "-p", "no:cacheprovider", *stand_in, *dry, *words)

    def ceilings(self) -> str:
        """What products of matrices and reading memory reach; kept in the state."""
        import torch

        from moebench.measures.clock import median_ms

        device, side = torch.device(self.device), 64 if self.dry else 8192
        found = {}
        for dtype in (torch.bfloat16, torch.float32):
            a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
            warm = time.monotonic() + (0 if self.dry else 0.5)  # until the clocks are up
            while time.monotonic() < warm:
                median_ms(lambda a=a, b=b: a @ b, device, 10)
            ms = median_ms(lambda a=a, b=b: a @ b, device, 20)
            found[f"tflops_{str(dtype).removeprefix('torch.')}"] = round(2 * side**3 / ms / 1e9, 3)
        table = torch.randn(16 * side, side, device=device)
        found["read_gb_per_s"] = round(table.numel() * 4 / median_ms(table.sum, device, 20) / 1e6, 1)
        self.state["found"] = found
        return "done"

    def compare(self) -> str:
        """As much of the suite as fits; the rest is named in the log."""
        if self.text is None:
            return "skipped: no --text was given"
        if self.left < 20:
            return "open: no time was left"
        words = ["run", self.suite, "--data", str(self.text), "--results", str(self.results), "--device", self.device]
        return self.call("suite", "moebench", *words, "--no-mlflow", "--no-check", "--for", f"{self.left - 10:.0f}")

    def call(self, stage: str, module: str, *words: str) -> str:
        """A module as a program, with what it prints in the log, ended where it outlasts its time."""
        limit = min(LIMITS.get(stage, self.left), self.left)
        if limit <= 0:
            return "open: no time was left"
        ended = "failed" if stage in LIMITS else "open"  # what was long once will be long again
        command = [sys.executable, "-m", module, *words]
        with (self.out / "log.txt").open("ab") as log:
            process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
            try:
                code = process.wait(limit)
            except subprocess.TimeoutExpired:
                self.end(process)
                return f"{ended}: it took more than {limit:.0f} s"
        return "done" if code == 0 else f"{ended}: exit status {code}"

    @staticmethod
    def end(process: subprocess.Popen[bytes]) -> None:
        """First as Ctrl-C does, for what was found until then is then written; then at once."""
        for number in (signal.SIGINT, signal.SIGKILL):
            os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(ENDING_SECONDS)
                return

    def say(self, text: str) -> None:
        """To the log and to whoever looks."""
        with (self.out / "log.txt").open("a", encoding="utf-8") as log:
            log.write(f"campaign  {text}\n")
        print(text, flush=True)

    def pack(self) -> None:
        """Everything to publish: the state, the log, the pages, and records before their arrays; plans, which take
        minutes to make, are carried on.
        """
        pages = [
            *_files(self.work / "perf"),
            *_files(self.work / "layers"),
            *_files(self.results, "*/board.*"),
            *_files(self.results, "*/plans/*.json"),
        ]
        _write_parts(self.out, "pages", self.work, pages, most=1)
        kept = [*_files(self.results / "records"), *_files(self.results / "sidecars")]
        left_out = _write_parts(self.out, "records", self.work, kept, most=MOST_FILES - 3)
        self.state["left_out"] = left_out
        log = self.out / "log.txt"
        log.write_bytes(log.read_bytes()[-PART_BYTES:])
        (self.out / "state.json").write_text(json.dumps(self.state, indent=1) + "\n", encoding="utf-8")


def _files(folder: Path, pattern: str = "*") -> list[Path]:
    """By name; nothing that is being written."""
    return [path for path in sorted(folder.rglob(pattern)) if path.is_file() and not path.name.startswith(".")]


def _write_parts(out: Path, name: str, root: Path, files: list[Path], most: int) -> int:
    """Archives ``name-1.tar.gz`` and so on, each small enough; how many files had no room."""
    left = [path for path in files if path.stat().st_size < PART_BYTES]
    too_large, number = len(files) - len(left), 0
    while left and number < most:
        number += 1
        held = io.BytesIO()
        with tarfile.open(fileobj=held, mode="w:gz", compresslevel=6) as archive:
            pending = 0  # bytes of files that have not come to the buffer yet, before they are compressed
            while left and held.tell() + pending + left[0].stat().st_size < PART_BYTES:
                before, size = held.tell(), left[0].stat().st_size
                archive.add(left[0], left[0].relative_to(root), recursive=False)
                pending = pending + size if held.tell() == before else size
                left.pop(0)
        if held.tell() > MOST_BYTES:
            raise ValueError(f"{name}-{number}.tar.gz has {held.tell()} bytes")
        (out / f"{name}-{number}.tar.gz").write_bytes(held.getvalue())
    return too_large + len(left)


def _unpacked(carried: Path | None, work: Path) -> dict[str, Any]:
    """The state of an earlier call, its files back in place."""
    if carried is None or not (carried / "state.json").is_file():
        return {}
    for path in sorted(carried.glob("*.tar.gz")):
        with tarfile.open(path) as archive:
            archive.extractall(work, filter="data")
    state: dict[str, Any] = json.loads((carried / "state.json").read_text(encoding="utf-8"))
    return state


def _text(given: Path | None, work: Path) -> Path | None:
    """A folder of text, out of its archive where it is one."""
    if given is None or given.is_dir():
        return given
    folder = work / "text"
    with tarfile.open(given) as archive:
        archive.extractall(folder, filter="data")
    return folder


def _environment(wheels: Path | None, work: Path) -> Mapping[str, str]:
    """moebench from this checkout and what the wheels have, without an installer: on the path of all that is called."""
    site = work / "site"
    for wheel in sorted(wheels.glob("*.whl")) if wheels else ():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    about = site / "moebench-0.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    init = (ROOT / "bench" / "moebench" / "__init__.py").read_text(encoding="utf-8")
    version = init.partition('__version__ = "')[2].partition('"')[0]
    about.joinpath("METADATA").write_text(
        f"Metadata-Version: 2.1\nName: moebench\nVersion: {version}\n", encoding="utf-8"
    )
    about.joinpath("entry_points.txt").write_text("\n".join(_entry_points(project)) + "\n", encoding="utf-8")
    path = [site, ROOT / "bench", ROOT / "variants", ROOT / "tests" / "support", ROOT / "tests" / "gpu"]
    sys.path[:0] = map(str, path)
    joined = os.pathsep.join([*map(str, path), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"PYTHONPATH": joined, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}


def _entry_points(project: Mapping[str, Any]) -> Iterator[str]:
    for group, names in project.get("entry-points", {}).items():
        yield f"[{group}]"
        yield from (f"{name} = {place}" for name, place in names.items())


def main(words: list[str] | None = None) -> int:
    """0 where every stage that is due is done, else 1: another call goes on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="what is to be published, and to be carried on")
    parser.add_argument("--carried", type=Path, help="the OUT of an earlier call")
    parser.add_argument("--work", type=Path, help="a folder for results and weights (default: OUT-work)")
    parser.add_argument("--wheels", type=Path, help="a folder of wheels that the machine lacks")
    parser.add_argument("--text", type=Path, help="a folder of text, or a tar archive of one")
    parser.add_argument("--seconds", type=float, default=540.0, help="for all of it")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--suite", default="gpu-text")
    parser.add_argument("--again", nargs="*", default=[], help="stages to repeat though an earlier call ended them")
    parser.add_argument("--dry", action="store_true", help="tests are collected and not run, ceilings are tiny")
    given = parser.parse_args(words)
    until = time.monotonic() + given.seconds
    out, work = given.out.resolve(), (given.work or given.out.with_name(f"{given.out.name}-work")).resolve()
    for folder in (out, work):
        folder.mkdir(parents=True, exist_ok=True)
    state = {name: value for name, value in _unpacked(given.carried, work).items() if name not in given.again}
    os.environ.update(_environment(given.wheels, work))
    text = _text(given.text, work)
    campaign = Campaign(out, work, given.device, given.suite, text and text.resolve(), given.dry, until, state)
    try:
        campaign.run()
    finally:
        campaign.pack()
    return 0 if all(campaign.state.get(stage) == "done" for stage in DUE) else 1


if __name__ == "__main__":
    sys.exit(main())
