"""Holds what determines results against ``golden.json``; ``python -m tests.golden`` writes it anew.

The file has the protocol, a digest of every module that determines results, and the digits of two tiny runs. It is
rewritten only if the digits still agree, or the protocol was raised, or nothing but the variants' own code changed,
which is part of a run's identity and needs no new protocol.
"""

import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import moebench
from moebench.plugins.digest import code_digest, parse, spelling
from moebench.plugins.find import find_variant
from moebench.protocol import PROTOCOL

FILE = Path(__file__).with_name("golden.json")
TOLERANCE = 1e-4
"""Relative: another processor or torch rounds otherwise, another computation differs by more."""

ADVICE = (
    "raise PROTOCOL in bench/moebench/protocol.py, or show that the digits are unchanged; "
    "then run `python -m tests.golden`, which refuses where neither holds (where nothing but the variants' own "
    "code changed, it takes the new digits)"
)

DETERMINING = (
    "budgets/*.py",
    "compression/*.py",
    "contract/*.py",
    "derived/compressed.py",
    "hosts/*.py",
    "planning/make.py",
    "planning/space.py",
    "scores/*.py",
    "subset/scores.py",
    "subset/select.py",
    "tasks/augment.py",
    "tasks/catalogue.py",
    "tasks/image_task.py",
    "tasks/partition.py",
    "tasks/pixels.py",
    "training/*.py",
    "tuning/*.py",
)
OTHERWISE = ("scores/timing.py",)

RUNS: dict[str, dict[str, Any]] = {
    "soft_moe": {"experts": 8},
    "sparse_topk": {"experts": 8, "loss/balance": 0.01},
}
DIGITS_OF = (
    "validation_loss_nats",
    "test_loss_nats",
    "load_entropy",
    "class_information",
    "max_violation",
    "output_cosine",
    "mass_kept_1_4",
)


def read() -> dict[str, Any]:
    """The file's content; empty where there is none."""
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}


def present() -> dict[str, Any]:
    """What the file would hold if it were written now."""
    return {"protocol": PROTOCOL, "modules": modules(), "variants": variants(), "digits": digits()}


def modules() -> dict[str, str]:
    """Module -> digest of its syntax tree without comments and docstrings."""
    root = Path(moebench.__file__).parent
    files = sorted({path for pattern in DETERMINING for path in root.glob(pattern)})
    names = {path.relative_to(root).as_posix(): path for path in files}
    return {name: digest_of(path) for name, path in names.items() if name not in OTHERWISE}


def digest_of(path: Path) -> str:
    """Twelve hexadecimal digits of what a file does."""
    return hashlib.sha256(spelling(parse(path)).encode()).hexdigest()[:12]


def variants() -> dict[str, str]:
    """Code digests of the variants in the runs."""
    return {name: code_digest(find_variant(name)) for name in RUNS}


def digits() -> dict[str, list[float]]:
    """Six digits of the loss of every step, and of the scores that do not jump, for each run."""
    return {name: [float(f"{value:.6g}") for value in _run(name, settings)] for name, settings in RUNS.items()}


def _run(name: str, settings: dict[str, Any]) -> list[float]:
    from moebench.execution.job import Job
    from moebench.execution.run_cell import run_cell
    from moebench.runs import Cell, Store
    from moebench.tasks import get_task

    cell = Cell(
        kind="final",
        protocol=PROTOCOL,
        task="digits",
        data_digest=get_task("digits").digest(),
        split=get_task("digits").split,
        host={"name": "vit", "dim": 16, "depth": 2, "heads": 2, "patch": 4},
        variant=name,
        code_digest=code_digest(find_variant(name)),
        settings={**settings, "lr": 3e-3, "weight_decay": 0.1},
        axis="total",
        budget=9_000,
        seed=7,
        steps=10,
        batch=24,
        micro_batch=10,
        precision="fp32",
        threads=1,
    )
    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            cell=cell,
            row=name,
            spec=name,
            label=name,
            suite="golden",
            results=Path(folder),
            data=None,
            device="cpu",
            backend="loop",
            save_weights=False,
        )
        record = run_cell(job)
        if record.status != "done":
            raise RuntimeError(f"the golden run of {name} ended as {record.status}: {record.reason}")
        loss_S = Store(Path(folder)).arrays(cell.identity)["loss_S"]
    return [*map(float, loss_S), *(float(record.scores[score] or 0) for score in DIGITS_OF)]


def disagreement(stored: dict[str, list[float]], now: dict[str, list[float]]) -> str:
    """The runs whose digits differ by more than the tolerance, with the first that does; empty if none."""
    found = []
    for name, expected in stored.items():
        got = now.get(name, [])
        if len(got) != len(expected):
            found.append(f"{name}: {len(got)} numbers for {len(expected)}")
        elif not np.allclose(got, expected, rtol=TOLERANCE, atol=TOLERANCE / 10):
            pairs = zip(got, expected, strict=True)
            first = next(pair for pair in pairs if not np.isclose(*pair, rtol=TOLERANCE, atol=TOLERANCE / 10))
            found.append(f"{name}: {first[0]} for {first[1]}")
    return "; ".join(found)


def changed_modules(stored: dict[str, str], now: dict[str, str]) -> list[str]:
    """Modules that are new, gone or do something else."""
    return sorted(name for name in stored.keys() | now.keys() if stored.get(name) != now.get(name))


def refusal(stored: dict[str, Any], now: dict[str, Any]) -> str:
    """Why the file may not be rewritten, or nothing."""
    if not stored or stored["protocol"] != now["protocol"]:
        return ""
    differ = disagreement(stored["digits"], now["digits"])
    only_variants = stored["modules"] == now["modules"] and stored["variants"] != now["variants"]
    return f"the digits changed ({differ}) under the same protocol" if differ and not only_variants else ""


def main() -> int:
    """Rewrite the file where that is right; 1 where it is not."""
    now = present()
    reason = refusal(read(), now)
    if reason:
        print(f"{FILE.name} stays as it is: {reason}; {ADVICE}.", file=sys.stderr)
        return 1
    FILE.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {FILE.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
