"""The wording of every reason, in one table; all other tests ask for codes."""

from __future__ import annotations

import pytest

from moebench.board import Reason
from moebench.board.reasons import SENTENCES

UNFINISHED = Reason("incomplete", planned=7, failed=(), waiting=("final 0", "final 1"))
OVER = Reason("off_budget", error=0.023, amount=264_000, axis="total")

WORDING = [
    (Reason("cannot_run", problem="variant 'a' cannot be imported."), "variant 'a' cannot be imported."),
    (Reason("no_study", task="digits"), "no run is planned on task 'digits'."),
    (
        Reason("cannot_be_planned", problem="a: no size is\n within 1 %", on_task="digits"),
        "digits: a: no size is within 1 %.",
    ),
    (Reason("not_run"), "not run yet."),
    (UNFINISHED, "incomplete, 2 of 7 runs have no result: not run yet: final 0, final 1."),
    (
        Reason(
            "incomplete",
            planned=12,
            failed=tuple((f"final {index}", "oom", "out of memory.") for index in range(6)),
            waiting=tuple(f"final {index}" for index in range(6, 12)),
        ),
        "incomplete, 12 of 12 runs have no result: final 0: oom: out of memory; final 1: oom; final 2: oom; final 3: "
        "oom; 2 more failed; not run yet: final 6, final 7, final 8, final 9 and 2 more.",
    ),
    (Reason("not_checked"), "its code was not checked against the contract."),
    (Reason("checks_fail", holds=45, of=47, names="a, b"), "it holds 45 of 47 checks, and fails a, b."),
    (
        Reason("audit_repeat", gap=0.25),
        "its trained model answers other than before when asked again, 0.25 of the answer apart.",
    ),
    (
        Reason("audit_labels", gap=0.25),
        "its answers change with the labels of the inputs, which it may not read.",
    ),
    (
        Reason("audit_alone", gap=0.25),
        "its answer to an input alone and in a batch are 0.25 of the answer apart.",
    ),
    (Reason("audit_others", gap=0.25), "its answer to an input changes by 0.25 with the other inputs of the batch."),
    (
        Reason("audit_copies", gap=0.96, of_seeds=(2, 3)),
        "its answer to an input changes by 0.96 when inputs like it stand before it in the batch, on 2 of 3 seeds.",
    ),
    (
        Reason("audit_later", gap=0.5),
        "its answers for earlier tokens change by 0.5 with later ones in a causal host.",
    ),
    (Reason("audit_not_finite"), "its trained model gives answers that are not finite."),
    (Reason("audit_state", names="body.mean"), "being asked changes its model: body.mean."),
    (
        Reason("audit_replaced", names="torch.nn.functional.cross_entropy"),
        "its code replaced torch.nn.functional.cross_entropy, with which layers are trained and scored.",
    ),
    (Reason("audit_settings", names="threads"), "its code changed threads, which the protocol sets."),
    (
        Reason("audit_parameters", now=1200, planned=1000),
        "it has 1,200 parameters after training and was built with 1,000.",
    ),
    (
        Reason("audit_flops", ratio=4.0, batch=104),
        "its trained layers need 4.00 times the FLOPs that are quoted, at batch 104.",
    ),
    (Reason("size_unknown"), "its records lack the size of its layers."),
    (OVER, "its expert layers are 2.3% over the budget of 264,000 parameters; a row is ranked within 1%."),
    (
        Reason("off_budget", error=-0.011, amount=9, axis="flops"),
        "its expert layers are 1.1% under the budget of 9 FLOPs per input; a row is ranked within 1%.",
    ),
    (Reason("reference", note="frozen random router"), "reference row: frozen random router."),
    (Reason("row_incomplete"), "the row has no result on every seed and task yet."),
    (Reason("no_ranked_dense", dense="dense"), "'dense' has no ranked result to compare with."),
    (Reason("no_experts"), "no experts."),
    (
        Reason("experts_unknown"),
        "its records do not say how many experts it has, and what acts beside them.",
    ),
    (Reason("always_on"), "a part of its layers always acts, and makes the gain of its experts small."),
    (
        Reason("experts_differ", own="16 experts, 2 a token", groups=()),
        "no other row has 16 experts, 2 a token; no two rows are alike in this.",
    ),
    (
        Reason("experts_differ", own="16 experts, 2 a token", groups=(("8 experts, 2 a token", ("a", "b")),)),
        "no other row has 16 experts, 2 a token; those to compare are a, b (8 experts, 2 a token).",
    ),
    (Reason("recorded", text="too few {experts}", of_seeds=(1, 3)), "too few {experts}, on 1 of 3 seeds."),
    (Reason("run_ended", status="diverged"), "the run diverged."),
    (Reason("not_measured"), "it was not measured."),
    (Reason("dependent_trials", sampler="tpe"), "trials of the sampler 'tpe' depend on each other."),
    (Reason("no_random_trial"), "there is no random trial beside the default."),
    (Reason("no_ladder"), "the suite has no ladder of dense sizes."),
    (Reason("ladder_incomplete", sizes=[20_000, 8]), "the dense ladder has no loss at 20,000, 8."),
    (Reason("ladder_not_falling"), "no size of the dense ladder has a lower loss than the smallest."),
    (Reason("loss_unknown"), "its final runs have no test loss in nats on every seed."),
    (Reason("cost_unknown"), "its records do not say what training takes."),
    (Reason("cost_not_rising"), "what training takes does not rise with every size of the dense ladder."),
    (Reason("no_null_row", null="random_detached"), "the suite has no row of 'random_detached'."),
    (Reason("both_outside", null="b"), "its loss and that of 'b' lie outside the dense ladder on the same side."),
    (Reason("no_oracle", oracle="a", null="b"), "the suite has no rows of 'a' and 'b'."),
    (Reason("nothing_to_time"), "no final run is done, so there is nothing to time."),
    (Reason("not_timed", device="a CPU"), "not measured yet for these rows and versions on a CPU."),
    (Reason("timed_elsewhere", found="a GPU", device="a CPU"), "it was measured on a GPU, not on a CPU."),
    (Reason("one_trial"), "one trial cannot be resampled."),
    (Reason("session_failed", text="its process ended"), "its process ended."),
    (Reason("session_empty"), "its session holds no measurement."),
    (Reason("session_lacks", why="it ended"), "its session did not measure it (it ended)."),
    (Reason("session_lacks", why=""), "its session did not measure it."),
    (Reason("unequal_rounds"), "its sessions have different numbers of rounds."),
    (Reason("diverged", seed=1, floor=0.1, on_task="digits"), "digits: seed 1 diverged and counts as the floor 0.1."),
    (
        Reason("edge", name="lr", value=0.0011092, end="smallest", low=0.0011092, high=0.01, tried=4),
        "best lr = 0.001109 is the smallest of the 4 tried, 0.001109 to 0.01.",
    ),
    (Reason("other_device", devices="a GPU"), "trained on a GPU."),
    (
        Reason("drift", early=1.083, late=1.479),
        "its latency went from 1.08x to 1.48x dense over the rounds of its session, so its interval is too narrow.",
    ),
    (
        Reason("untrained_weights"),
        "its trained weights were not kept, and a layer's time depends on where it routes.",
    ),
    (Reason("no_such_row", row="gone", task="digits"), "the board has no row 'gone' on task 'digits'."),
    (
        Reason("other_settings", differences=(("steps", "300", "400"), ("threads", "2", "1"))),
        "it has steps 300 and not 400, threads 2 and not 1.",
    ),
    (Reason("active_unknown"), "its active parameters are not known."),
    (Reason("too_large", active=40_000, place="cifar10"), "it has 40,000 active parameters on cifar10."),
    (
        Reason("latency_unknown", why="it has no ratio to dense"),
        "its latency is not known: it has no ratio to dense.",
    ),
    (Reason("too_slow", ratio=1.281, limit=1.0, place=""), "its latency is 1.28x dense."),
    (
        Reason("too_slow", ratio=1.002, limit=1.0, place="digits", bounds="0.9 to 1.1"),
        "its latency is 1.002x dense on digits, its interval 0.9 to 1.1.",
    ),
    (
        Reason("perhaps_too_slow", place="", bounds="0.62 to 0.76"),
        "its latency ratio lies in 0.62 to 0.76.",
    ),
    (Reason("tasks_differ", a="digits", b="norm"), "tasks are digits in A and norm in B."),
    (
        Reason("settings_differ", differences=(("steps", "400", "9"),), place="digits"),
        "on digits, steps is 400 in A and 9 in B.",
    ),
    (
        Reason("effort_differs", differences=(("the sampler", "tpe", "random"),)),
        "the sampler is tpe in A and random in B.",
    ),
    (
        Reason("size_in_side", side="A", reason=OVER),
        "in A its expert layers are 2.3% over the budget of 264,000 parameters.",
    ),
    (
        Reason("in_side", side="B", reason=UNFINISHED),
        "in B: incomplete, 2 of 7 runs have no result: not run yet: final 0, final 1.",
    ),
    (Reason("other_budgets", side="B", budgets="2,000, 3,000"), "B has the budget 2,000, 3,000."),
    (Reason("uneven_seeds"), "its tasks share different numbers of seeds."),
    (Reason("no_shared_seed"), "no seed is in both."),
    (Reason("fewer_seeds", shared=3, a=5, b=4), "3 seeds are in both, of 5 in A and 4 in B."),
    (Reason("fewer_seeds", shared=1, a=5, b=4), "1 seed is in both, of 5 in A and 4 in B."),
    (Reason("run_again"), "the same cells, run again."),
    (
        Reason("divergence_differs", a=0, of_a=5, b=2, of_b=4),
        "0 of 5 final runs diverged in A, 2 of 4 in B.",
    ),
    (Reason("same_scores"), "every score is the same in both."),
    (Reason("one_seed"), "one seed has no interval."),
    (Reason("no_spread"), "the difference is the same on every seed, so it has no interval."),
    (Reason("latency_of_devices", a="X", b="Y"), "Latency is not compared: A was measured on X and B on Y."),
    (
        Reason("latency_of_batches", a=64, b=7),
        "Latency is not compared: A was measured at batch 64 and B at batch 7.",
    ),
    (
        Reason("latency_missing", whys={"in B": Reason("session_empty")}),
        "Latency is not compared: in B: its session holds no measurement.",
    ),
    (Reason("latency_missing", whys={}), "Latency is not compared: no row was measured in both."),
]


@pytest.mark.parametrize(("reason", "sentence"), WORDING, ids=[reason.code for reason, _ in WORDING])
def test_a_code_and_its_facts_are_one_sentence(reason: Reason, sentence: str) -> None:
    assert reason.sentence == sentence
    assert reason.text.rstrip(".") == sentence.removesuffix(".")


def test_every_code_is_in_the_table() -> None:
    assert {reason.code for reason, _ in WORDING} == set(SENTENCES)


def test_a_reason_of_a_task_keeps_its_code_and_facts() -> None:
    reason = Reason("recorded", text="too few")
    assert reason.on("digits") == Reason("recorded", text="too few", on_task="digits")
    assert reason.on("") is reason
