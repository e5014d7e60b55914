"""Disks that are full or read-only, damaged files, and several suites on one results directory."""

import contextlib
import shutil
import subprocess
import time

import pytest
from fault_suites import STEPS, board, end, records, run, scores, start, until

from tiny import write_plugin, write_suite


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MiB; skipped where this user may not mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(place)], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"a small disk cannot be mounted here ({made.stderr.strip()})")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path, undisturbed, small_disk):
    suite, results = write_suite(tmp_path, steps=STEPS), small_disk / "results"
    process = start(suite, results)
    until(lambda: records(results))
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    code, _, err = end(process)
    assert code in (1, 2), err
    assert "No space left on device" in err
    assert "Traceback" not in err
    kept = records(results)
    ballast.unlink()
    code, _, err = run(suite, results)
    assert code == 0, err
    now = records(results)
    assert {identity: now[identity] for identity in kept} == kept
    assert scores(results) == undisturbed.scores


def test_read_only_results_can_be_read_and_not_run_into(tmp_path, undisturbed, small_disk):
    suite, results = write_suite(tmp_path, steps=STEPS), small_disk / "results"
    code, _, err = run(suite, results)
    assert code == 0, err
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert board(suite, results) == undisturbed.board
    code, _, err = run(suite, results)
    assert code == 2
    assert "cannot write to the results directory" in err
    assert "--results DIR" in err
    assert "Traceback" not in err


def test_a_damaged_record_and_a_damaged_checkpoint_are_set_aside_and_said(tmp_path, undisturbed):
    suite, results = write_suite(tmp_path, steps=STEPS), tmp_path / "results"
    code, _, err = run(suite, results)
    assert code == 0, err
    victims = [path for path in sorted((results / "records").glob("*/*.json")) if path.stem in undisturbed.scores][:2]
    victims[0].write_bytes(victims[0].read_bytes()[:300])
    victims[1].unlink()
    checkpoint = results / "checkpoints" / victims[1].stem[:2] / f"{victims[1].stem}.checkpoint"
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write_bytes(b"not a checkpoint")
    code, _, err = run(suite, results)
    assert code == 0, err
    assert "damaged record(s) were set aside" in err
    assert "the checkpoint was set aside" in err
    assert victims[0].with_suffix(".damaged").exists()
    assert checkpoint.with_suffix(".damaged").read_bytes() == b"not a checkpoint"
    assert scores(results) == undisturbed.scores
    assert board(suite, results) == undisturbed.board


TELLS = "open(os.path.join({seen!r}, str(os.getpid())), 'w').close(), time.sleep(0.02)"


def test_two_suites_on_one_directory_share_the_work(tmp_path):
    (tmp_path / "seen").mkdir()
    plugin = write_plugin(tmp_path, "tells", in_training=TELLS.format(seen=str(tmp_path / "seen")))
    suite, results = write_suite(tmp_path, steps=40), tmp_path / "results"
    both = [start(suite, results, "--variant", plugin, "--workers", "1") for _ in range(2)]
    ended = [end(process) for process in both]
    assert [code for code, _, _ in ended] == [0, 0], ended
    found = [record for record in records(results).values() if record["cell"]["variant"] == "tells"]
    trained = [record for record in found if record["cell"]["kind"] != "latency"]
    assert len(trained) == 4
    # Every training run, and each finalist's process of the one latency session, was one process.
    sessions = [record for record in records(results).values() if record["cell"]["kind"] == "latency"]
    assert len(sessions) == 1
    assert len(list((tmp_path / "seen").iterdir())) == len(trained) + len(sessions)


def test_directories_from_elsewhere_are_merged_by_copying(tmp_path, undisturbed):
    suite = write_suite(tmp_path, steps=STEPS)
    for row in ("dense", "soft_moe"):
        code, _, err = run(suite, tmp_path / row, "--variant", row)
        assert code == 0, err
    for row in ("dense", "soft_moe"):
        for folder in ("records", "sidecars", "weights"):
            shutil.copytree(tmp_path / row / folder, tmp_path / "both" / folder, dirs_exist_ok=True)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "both" / "records").glob("*/*.json")}
    code, _, err = run(suite, tmp_path / "both")
    assert code == 0, err
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())
    assert scores(tmp_path / "both") == undisturbed.scores
    assert board(suite, tmp_path / "both") == undisturbed.board


def test_nothing_waits_for_a_claim_whose_owner_is_dead(tmp_path, undisturbed):
    suite, results = write_suite(tmp_path, steps=STEPS), tmp_path / "results"
    process = start(suite, results)
    until(lambda: list((results / "claims").glob("*.claim")))
    process.kill()
    end(process)
    began = time.monotonic()
    code, _, err = run(suite, results)
    assert code == 0, err
    assert time.monotonic() - began < 55, "a minute is what a claim lasts whose owner may live"
    assert scores(results) == undisturbed.scores
