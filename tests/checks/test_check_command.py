"""``moebench check`` as a person sees it."""

from __future__ import annotations

import os
import sys

import pytest

from moebench.cli.main import main

HERE = os.path.dirname(__file__)


@pytest.fixture
def check(monkeypatch, capsys):
    def call(*words):
        monkeypatch.setenv("COLUMNS", "110")
        monkeypatch.setattr(sys, "argv", ["moebench", "check", *words])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return end.value.code, [line.rstrip() for line in said.out.splitlines()], said.err.strip()

    return call


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        f"import sys\nsys.path.insert(0, {HERE!r})\nfrom good import Good\nfrom broken_masks import "
        "MultipliesByZero\n\nclass Mine(Good):\n    name = 'mine'\n    makes = MultipliesByZero\n"
    )
    return f"{path}:Mine"


MASKS = ("--only", "mask_really_skips", "--only", "mask_is_obeyed")


def test_failures_stand_below_the_heading_and_status_is_1(check, mine):
    status, lines, _ = check(mine, *MASKS)
    assert status == 1
    assert lines[0] == f"{mine}  1 of 2 checks hold"
    assert lines[1].startswith("  mask_really_skips  mine computes masked experts: with the parameters of experts 1")
    assert " ".join(line.strip() for line in lines[1:]).endswith("not scale them by 0).")
    assert all(line.startswith(" " * 21) for line in lines[2:])


def test_all_hold_and_status_is_0(check):
    status, lines, _ = check("dense", "--only", "space", "--only", "mask_is_obeyed")
    assert (status, lines) == (0, ["dense  1 of 1 checks hold"])


def test_verbose_prints_what_does_not_apply_and_why(check):
    _, lines, _ = check("dense", "-v", "--only", "space", "--only", "mask_is_obeyed")
    assert lines[1].split() == ["space", "holds"]
    assert lines[2].split(maxsplit=1) == ["mask_is_obeyed", "does not apply: it has no experts to mask."]


def test_notes_are_shown_without_being_asked_for(check, tmp_path):
    path = tmp_path / "noted.py"
    path.write_text(
        f"import sys\nsys.path.insert(0, {HERE!r})\nfrom test_run import DeadExpert\n\nclass "
        "Noted(DeadExpert):\n    name = 'noted'\n"
    )
    status, lines, _ = check(f"{path}:Noted", "--only", "every_parameter_learns")
    assert status == 0
    assert lines[1].startswith("  note: every_parameter_learns  1 expert (1) of 4 never chosen")


def test_broken_plugin_is_a_row_and_does_not_stop_the_others(check, tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("import nothing_of_that_name\n")
    status, lines, _ = check(f"{path}:Mine", "dense", "--only", "space")
    text = " ".join(line.strip() for line in lines)
    assert status == 1
    assert f"{path}:Mine  cannot be checked" in lines
    assert "fails to import (ModuleNotFoundError: No module named 'nothing_of_that_name')" in text
    assert lines[-1] == "dense  1 of 1 checks hold"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("sfot_moe",), "unknown variant 'sfot_moe'; did you mean 'soft_moe'?"),
        (("dense", "--only", "pickel"), "unknown check 'pickel'; did you mean 'pickle'?"),
        (("nowhere.py:Mine",), "there is no file 'nowhere.py' for 'nowhere.py:Mine'."),
        (("mine.py",), "'mine.py' is neither a variant's name nor of the form path.py:Name."),
        ((), "Missing argument 'VARIANT...'."),
    ],
)
def test_wrong_use_is_one_sentence_and_status_2(check, words, sentence):
    status, lines, said = check(*words)
    assert (status, lines) == (2, [])
    assert said == f"moebench: {sentence}"
