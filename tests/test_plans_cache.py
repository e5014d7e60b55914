"""Plans that are kept: read again without torch, and made anew when anything they depend on has changed."""

import gzip
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import moebench.tasks.places as downloads
from moebench import machine
from moebench.plans.cache import KEPT_PLANS, get_plan
from moebench.plans.estimate import left
from moebench.records import Store
from moebench.suites.request import ask
from packages import VARIANT
from plans import ALONE, Records, a_request, a_suite

FASHION = {
    "task": [{"name": "fashion_mnist"}],
    "host": {"name": "vit", "dim": 16, "depth": 2, "heads": 2, "patch": 14},
}


class Asked:
    """Asks for plans and counts how many had to be made."""

    def __init__(self, results):
        self.results, self.made = results, 0

    def __call__(self, *chosen, **changes):
        def on_miss():
            self.made += 1

        request = a_request(chosen, **{**ALONE, **changes})
        return get_plan(request, self.results, on_miss)

    def files(self):
        return sorted((self.results / "mine" / "plans").glob("*"))


@pytest.fixture
def asked(tmp_path):
    return Asked(tmp_path / "results")


def write_idx(folder, seed=0):
    """Ten classes of tiny Fashion-MNIST in the layout of its files."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for part, count in (("train", 120), ("t10k", 20)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            (folder / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes()))


def test_the_second_time_the_plan_is_read(asked):
    assert asked() == asked()
    assert asked.made == 1


def test_what_is_worked_on_is_the_requests_and_not_the_plans(asked):
    both = {"variants": ["dense", "soft_moe"]}
    all_rows, one = asked(**both), asked("dense", **both)
    assert asked.made == 1
    assert [row.selected for row in all_rows.rows] == [True, True]
    assert [row.selected for row in one.rows] == [True, False]
    assert one.groups == all_rows.groups


@pytest.mark.parametrize(
    "change",
    [{"seeds": 3}, {"trials": 2}, {"micro_batch": 4}, {"budgets": [40_000]}, {"device": "cpu"}, {"backend": "loop"}],
    ids=str,
)
def test_another_suite_or_request_is_another_plan(asked, change):
    asked()
    asked(**change)
    assert asked.made == 2


def test_a_changed_line_of_a_variant_makes_the_plan_anew(asked, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(VARIANT)
    before = asked(f"{path}:Mine")
    path.write_text("# a comment\n" + VARIANT)
    assert asked(f"{path}:Mine") == before
    assert asked.made == 1
    path.write_text(VARIANT.replace("DenseLayer(shape, size)", "DenseLayer(shape, 1 * size)"))
    after = asked(f"{path}:Mine")
    assert asked.made == 2
    first, second = (plan.groups_of("mine")[0].trial_cells[0].identity for plan in (before, after))
    assert first != second
    assert before.groups_of("dense") == after.groups_of("dense")


def test_other_versions_make_the_plan_anew(asked, monkeypatch):
    asked()
    now = machine.versions()
    monkeypatch.setattr(machine, "versions", lambda: {**now, "torch": "9.9"})
    asked()
    assert asked.made == 2


def test_another_set_of_gpus_makes_the_plan_anew(asked, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    asked()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    asked(device="cpu")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    asked(device="cpu")
    assert asked.made == 3


def test_changed_data_make_the_plan_anew(asked, tmp_path):
    write_idx(tmp_path / "data" / "fashion-mnist")
    first = asked(data=tmp_path / "data", **FASHION)
    assert asked(data=tmp_path / "data", **FASHION) == first
    assert asked.made == 1
    write_idx(tmp_path / "data" / "fashion-mnist", seed=1)
    second = asked(data=tmp_path / "data", **FASHION)
    assert asked.made == 2
    assert first.groups[0].template["data_digest"] != second.groups[0].template["data_digest"]


def test_data_that_are_not_there_are_fetched_while_the_plan_is_made(asked, tmp_path, monkeypatch):
    """The download itself is replaced: it needs a network."""

    def download(dataset, layout, root):
        write_idx(root / "fashion-mnist")
        return ""

    monkeypatch.setattr(downloads, "download", download)
    (tmp_path / "data").mkdir()
    first = asked(data=tmp_path / "data", **FASHION)
    assert asked(data=tmp_path / "data", **FASHION) == first
    assert asked.made == 1


def test_a_relative_data_directory_is_the_one_it_was(asked, tmp_path, monkeypatch):
    for place in ("a", "b"):
        write_idx(tmp_path / place / "data" / "fashion-mnist")
        monkeypatch.chdir(tmp_path / place)
        assert asked(data=Path("data"), **FASHION).data == str(tmp_path / place / "data")
    assert asked.made == 2


def test_a_plan_with_a_problem_that_an_installation_may_cure_is_not_kept(asked, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("import helper_that_comes_later\n" + VARIANT)
    assert "helper_that_comes_later" in asked(f"{path}:Mine").row("mine").problem
    assert asked.files() == []


def test_a_plan_with_a_variant_that_cannot_meet_the_budget_is_kept(asked):
    """Or every board with such a row would take seconds."""
    small = {"variants": ["dense", "soft_moe"], "budgets": [3_000]}
    first = asked(**small)
    assert first.groups_of("soft_moe")[0].problem
    assert asked(**small) == first
    assert asked.made == 1


@pytest.mark.parametrize("content", ["", "{", "[]", '{"suite": {}}', '{"groups": [1]}', "\0"])
def test_a_damaged_plan_is_made_again(asked, content):
    first = asked()
    (path,) = asked.files()
    path.write_text(content)
    assert asked() == first
    assert asked() == first
    assert asked.made == 2


def test_only_the_newest_plans_are_kept(asked):
    for seeds in range(1, KEPT_PLANS + 4):
        asked(seeds=seeds, trials=1)
    assert len(asked.files()) == KEPT_PLANS
    asked(seeds=KEPT_PLANS + 3, trials=1)
    assert asked.made == KEPT_PLANS + 3


def test_a_directory_that_cannot_be_written_keeps_no_plan_and_stops_nobody(tmp_path):
    (tmp_path / "file").write_text("")
    asked = Asked(tmp_path / "file" / "results")
    assert asked() == asked()
    assert asked.made == 2


def test_a_kept_plan_is_read_without_torch(tmp_path):
    plan = get_plan(ask("quick").requests[0], tmp_path)
    code = (
        "import sys; from pathlib import Path\n"
        "from moebench.plans.cache import get_plan\n"
        "from moebench.plans.estimate import left\n"
        "from moebench.plans.generations import grown\n"
        "from moebench.suites.request import ask\n"
        "from moebench.records import Store\n"
        f"results = Path({str(tmp_path)!r})\n"
        "plan = get_plan(ask('quick', variants=('soft_moe',)).requests[0], results, lambda: sys.exit('made anew'))\n"
        "plan = grown(plan, Store(results).get)\n"
        "print(left(plan, Store(results).get).runs)\n"
        "heavy = {'torch', 'optuna', 'mlflow', 'sklearn', 'timm', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    again = get_plan(ask("quick", variants=("soft_moe",)).requests[0], tmp_path)
    selected = left(again, Store(tmp_path).get).runs
    assert int(run.stdout) == selected == 2 * (plan.suite.tuning.trials + plan.suite.seeds) + 1


def test_a_later_generation_is_asked_without_torch(tmp_path):
    """So that the board of a suite with a TPE study is read as fast as any."""
    suite = a_suite(**ALONE, tuning={"sampler": "tpe", "generation": 2})
    plan = get_plan(a_request(suite=suite), tmp_path)
    store = Store(tmp_path)
    for record in Records().settle_all(plan).values():
        store.put(record)
    code = (
        "import sys, json; from pathlib import Path\n"
        "from moebench.plans.generations import grown\n"
        "from moebench.plans.plan import Plan\n"
        "from moebench.records import Store\n"
        f"results = Path({str(tmp_path)!r})\n"
        "(path,) = (results / 'mine' / 'plans').glob('*.json')\n"
        "plan = grown(Plan.from_json(json.loads(path.read_text())), Store(results).get)\n"
        "print(len(plan.groups[0].trials))\n"
        "assert 'torch' not in sys.modules"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(run.stdout) == 4
