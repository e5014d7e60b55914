"""The script for a machine with a GPU, tried on the CPU: its stages, what it leaves, and how it goes on."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest

from moebench.suites.load import find_suites, load_suite

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "tests" / "gpu" / "campaign.py"

SMALLER = {
    r"budgets = .*": "budgets = [24_576]",
    r"seeds = 3": "seeds = 1",
    r"variants = .*": 'variants = ["dense", "sparse_topk"]',
    r"\[\[reference\]\]\n(.*\n)+?\n": "",
    r"window = 512": "window = 16, scored = 64",
    r"dim = 512": "dim = 16",
    r"depth = 8": "depth = 2",
    r"heads = 8": "heads = 2",
    r"steps = 900\nbatch = 128": "steps = 6\nbatch = 4",
    r"trials = 4\n(.*)\nsteps = 300": r"trials = 1\n\1\nsteps = 2",
    r"batch = 16\n": "batch = 4\nrounds = 6\nrepeats = 1\n",
    r"\[space\.(topk_qb|sigma_moe|deepseek)\]\n(.+\n)+": "",
    r"# One shared expert.*\n": "",
    r"experts = \[64\]": "experts = [8]",
    r"top_k = \[8\]": "top_k = [2]",
}
"""What makes a suite of seconds of gpu-text: pattern -> what is there instead."""


WITH_TIMM = {"torch", "torchvision", "timm", "numpy", "pillow", "safetensors", "click", "jinja2", "filelock"}
"""What a machine that has torch and timm has."""


@pytest.fixture
def campaign(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import campaign

    yield campaign
    sys.modules.pop("campaign", None)


@pytest.fixture
def small_suite(tmp_path: Path) -> Path:
    text = find_suites()["gpu-text"].read_text(encoding="utf-8")
    for pattern, instead in SMALLER.items():
        text, found = re.subn(pattern, instead, text)
        assert found, pattern
    path = tmp_path / "small.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A folder of 45 documents."""
    folder = tmp_path / "text"
    folder.mkdir()
    for index in range(45):
        folder.joinpath(f"{index}.txt").write_text(f"document {index} says {index * index} and no more. " * 20)
    return folder


@pytest.fixture
def lacking(tmp_path: Path) -> Path:
    """On the path of Python programs: of what moebench depends on they find what comes with torch and timm, and the
    wheels that docs/scaling.md names.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {re.match(r"[\w-]+", each)[0] for each in project["dependencies"]}
    line = re.search(r"pip download(.*?)```", (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8"), re.DOTALL)
    lacked = wanted - WITH_TIMM - {*line[1].split()}
    assert lacked == {"matplotlib", "mlflow", "scikit-learn", "pyarrow", "jsonschema"}
    modules = [name.replace("scikit-learn", "sklearn") for name in sorted(lacked)]
    folder = tmp_path / "lacking"
    folder.mkdir()
    folder.joinpath("sitecustomize.py").write_text(f"import sys; sys.modules.update(dict.fromkeys({modules}))")
    return folder


def call(out: Path, *words: str, path: Path | None = None) -> tuple[int, dict[str, object]]:
    command = [sys.executable, str(SCRIPT), "--out", str(out), "--device", "cpu", "--dry", *words]
    # Its own pytest is no worker of the one that runs this test.
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    if path:
        env["PYTHONPATH"] = os.pathsep.join([str(path), *filter(None, [env.get("PYTHONPATH")])])
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert (out / "state.json").is_file(), done.stderr
    return done.returncode, json.loads((out / "state.json").read_text())


def names_in(out: Path) -> set[str]:
    found: set[str] = set()
    for part in out.glob("records-*.tar.gz"):
        with tarfile.open(part) as archive:
            found |= set(archive.getnames())
    return found


def test_a_dry_run_ends_and_a_later_call_goes_on_from_its_files(
    tmp_path: Path, small_suite: Path, text: Path, lacking: Path
):
    packed = tmp_path / "text.tar.xz"
    with tarfile.open(packed, "w:xz") as archive:
        archive.add(text, "text")
    first, second = tmp_path / "first", tmp_path / "second"
    suite = ("--suite", str(small_suite), "--seconds", "600")
    code, state = call(first, *suite, path=lacking)
    log = (first / "log.txt").read_text()
    assert (code, state["tests"], state["ceilings"], state["perf"]) == (1, "done", "done", "done"), log
    assert str(state["suite"]).startswith("skipped")
    assert state["layers"] == "done"
    timed = re.findall(r"^tests/perf/test_layers.py::(.*)$", log, re.MULTILINE)
    targets = [each for each in timed if re.search(r"\[(wide|broad|narrow)", each)]
    assert timed[: len(targets)] == targets, "what a GPU is to reach comes first"
    learned = [each for each in targets if "-learned-" in each]
    assert targets[: len(learned)] == learned
    assert 9 == len(learned) < len(targets) < len(timed)
    assert isinstance(state["found"], dict)
    assert state["found"].keys() == {"tflops_bfloat16", "tflops_float32", "read_gb_per_s"}

    suite = (*suite, "--text", str(packed))
    code, state = call(second, *suite, "--carried", str(first), path=lacking)
    log = (second / "log.txt").read_text()
    assert (code, state["suite"], state["left_out"]) == (0, "done", 0), log
    assert "campaign  tests" not in log, "done before"
    records = [name for name in names_in(second) if name.startswith("results/records")]
    assert len(records) == 2 * (1 + 1) + 1, "a trial and a final of each row, and a latency session"
    files = list(second.iterdir())
    assert len(files) <= 8
    assert all(path.stat().st_size <= 16 << 20 for path in files)
    with tarfile.open(second / "pages-1.tar.gz") as pages:
        boards = {name.rpartition("/")[2]: name for name in pages.getnames() if "/board." in name}
        assert boards.keys() == {"board.json", "board.csv", "board.md", "board.html"}
        page = pages.extractfile(boards["board.html"]).read().decode()
    assert "bits per byte" in page
    assert "chart-scatter-0" not in page, "there is nothing to draw with"

    third = tmp_path / "third"
    code, state = call(third, *suite, "--again", "suite", "--carried", str(second))
    assert (code, state["suite"]) == (0, "done")
    assert "5 cached, 0 to run" in (third / "log.txt").read_text(), "nothing is run twice"
    assert names_in(third) == names_in(second)


def test_parts_are_small_and_records_come_first(tmp_path: Path, campaign, monkeypatch):
    monkeypatch.setattr(campaign, "PART_BYTES", 3000)
    monkeypatch.setattr(campaign, "MOST_BYTES", 30_000)
    monkeypatch.setattr(campaign, "MOST_FILES", 5)
    results, out = tmp_path / "results", tmp_path / "out"
    out.mkdir()
    (out / "log.txt").write_text("")
    import random

    for folder, size, count in (("records", 200, 6), ("sidecars", 1000, 8), ("sidecars/large", 4000, 1)):
        (results / folder).mkdir(parents=True)
        for index in range(count):
            (results / folder / f"{index}.bin").write_bytes(random.Random(index).randbytes(size))
    run = campaign.Campaign(out, tmp_path, "cpu", "gpu-text", None, True, 0.0)
    run.pack()
    names = names_in(out)
    assert len([name for name in names if "records/" in name]) == 6
    assert run.state["left_out"] == 6 + 8 + 1 - len(names) > 1
    assert len(list(out.iterdir())) <= 5


def test_a_stage_that_breaks_does_not_end_the_others(tmp_path: Path, campaign, monkeypatch):
    run = campaign.Campaign(tmp_path, tmp_path, "cpu", "gpu-text", None, True, float("inf"))
    monkeypatch.setattr(campaign.Campaign, "ceilings", lambda self: 1 / 0)
    monkeypatch.setattr(campaign.Campaign, "pytest", lambda self, stage, *words: "done")
    run.run()
    assert run.state["tests"] == run.state["perf"] == run.state["layers"] == "done"
    assert [*run.state] == ["tests", "ceilings", "perf", "suite", "layers"]
    assert run.state["ceilings"].startswith("failed: ZeroDivisionError")
    assert run.state["suite"].startswith("skipped")


def test_a_call_that_outlasts_its_time_is_ended(tmp_path: Path, campaign, monkeypatch):
    run = campaign.Campaign(tmp_path, tmp_path, "cpu", "gpu-text", None, True, campaign.time.monotonic() + 31)
    monkeypatch.setattr(campaign, "ENDING_SECONDS", 2.0)
    code = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(60)"
    slow = "import time; time.sleep(60)"
    for stage, status, body in (("tests", "failed", slow), ("layers", "open", slow), ("suite", "open", code)):
        run.until = campaign.time.monotonic() + campaign.PACKING_SECONDS + 1
        assert run.call(stage, "timeit", "-n", "1", "-r", "1", body) == f"{status}: it took more than 1 s"


def test_gpu_text_is_as_it_says():
    suite = load_suite("gpu-text")
    assert suite.tuned.steps is not None
    assert suite.training.steps == 3 * suite.tuned.steps
    assert suite.training.batch * 512 == 65_536
    assert suite.thin_sidecars
    assert suite.axis == "active"
    for budget, hidden in zip(suite.budgets, (80, 168), strict=True):
        assert budget % (8 * 3 * 512) == 0
        sparse = 8 * (512 * 64 + 8 * 3 * 512 * hidden)  # router, and 8 experts
        assert abs(sparse / budget - 1) < 0.01
