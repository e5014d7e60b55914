"""The protocol is raised whenever what determines results changes: see golden.py."""

import copy

import pytest

import golden
from moebench.protocol import PROTOCOL


def test_what_determines_results_did_not_change_under_the_same_protocol():
    stored = golden.read()
    assert stored["protocol"] == PROTOCOL, f"golden.json is of another protocol: {golden.ADVICE}."
    changed = golden.changed_modules(stored["modules"], golden.modules())
    assert not changed, f"{', '.join(changed)} changed: {golden.ADVICE}."


def test_the_golden_runs_give_their_digits():
    differ = golden.disagreement(golden.read()["digits"], golden.digits())
    assert not differ, f"the golden runs give other digits ({differ}): {golden.ADVICE}."


STORED = {
    "protocol": "1",
    "modules": {"training/loop.py": "aa", "hosts/vit.py": "bb"},
    "variants": {"soft_moe": "cc"},
    "digits": {"soft_moe": [2.30259, 1.5]},
}


def changed(**parts):
    now = copy.deepcopy(STORED)
    for part, value in parts.items():
        now[part] = value
    return now


OTHER_DIGITS = {"soft_moe": [2.30259, 1.501]}
OTHER_LOOP = {"training/loop.py": "zz", "hosts/vit.py": "bb"}


@pytest.mark.parametrize(
    "now",
    [
        changed(),
        changed(modules=OTHER_LOOP),
        changed(modules=OTHER_LOOP, digits={"soft_moe": [2.30261, 1.50001]}),
        changed(modules=OTHER_LOOP, digits=OTHER_DIGITS, protocol="2"),
        changed(variants={"soft_moe": "zz"}, digits=OTHER_DIGITS),
    ],
)
def test_the_file_may_be_rewritten(now):
    assert golden.refusal(STORED, now) == ""
    assert golden.refusal({}, now) == ""


@pytest.mark.parametrize(
    "now",
    [
        changed(digits=OTHER_DIGITS),
        changed(modules=OTHER_LOOP, digits=OTHER_DIGITS),
        changed(modules=OTHER_LOOP, digits=OTHER_DIGITS, variants={"soft_moe": "zz"}),
        changed(digits={"soft_moe": [2.30259]}),
        changed(digits={}),
    ],
)
def test_other_digits_under_the_same_protocol_are_refused(now):
    assert "under the same protocol" in golden.refusal(STORED, now)


def test_new_gone_and_changed_modules_are_named():
    now = {"training/loop.py": "zz", "hosts/new.py": "dd"}
    expected = ["hosts/new.py", "hosts/vit.py", "training/loop.py"]
    assert golden.changed_modules(STORED["modules"], now) == expected


def test_words_do_not_matter_and_deeds_do(tmp_path):
    texts = [
        '"""One."""\nRATE = 0.1  # a\n',
        '"""Another."""\n\nRATE = 0.1\n',
        '"""One."""\nRATE = 0.2  # a\n',
    ]
    digests = []
    for index, text in enumerate(texts):
        path = tmp_path / f"{index}.py"
        path.write_text(text, encoding="utf-8")
        digests.append(golden.digest_of(path))
    assert digests[0] == digests[1] != digests[2]


def test_the_modules_that_determine_results_are_all_looked_at():
    names = golden.modules()
    expected = {
        "training/loop.py",
        "training/seeds.py",
        "training/evaluate.py",
        "hosts/vit.py",
        "hosts/build.py",
        "scores/specialization.py",
        "tasks/partition.py",
        "tasks/pixels.py",
        "budgets/solve.py",
        "tuning/ask.py",
        "contract/layer.py",
        "planning/make.py",
        "planning/space.py",
    }
    assert expected <= names.keys()
    assert "scores/timing.py" not in names
