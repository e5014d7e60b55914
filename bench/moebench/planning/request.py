"""What a person asked for: a suite and the changes to it on the command line."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from moebench.errors import SuiteError, UsageError
from moebench.planning.label import label
from moebench.planning.place import Place
from moebench.protocol import PROTOCOL
from moebench.suites import Suite, load_suite


@dataclass(frozen=True, kw_only=True)
class Request:
    """variants: rows to run (names or ``path.py:Class``); empty means all of the suite.

    seeds, trials, micro_batch: instead of the suite's; they change the protocol string, so that such rows never mix
    with others. extras: rows beside the suite's, from earlier runs into the same results. place: where it is to run, if
    that is not this machine.
    """

    suite: str
    variants: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    seeds: int | None = None
    trials: int | None = None
    micro_batch: int | None = None
    device: str | None = None
    backend: str | None = None
    data: Path | None = None
    place: Place | None = None
    suite_definition: Suite | None = field(default=None, compare=False)

    def resolved(self) -> Suite:
        """The suite with the changes applied."""
        suite = self.suite_definition or load_suite(self.suite)
        for name in ("seeds", "trials", "micro_batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"--{name.replace('_', '-')} must be at least 1, not {value}.")
        training = suite.training
        if self.micro_batch is not None:
            if any("micro_batch" in entry.training for entry in suite.task):
                raise SuiteError(f"suite '{suite.name}' fixes micro_batch for a task; leave --micro-batch out.")
            training = training.model_copy(update={"micro_batch": self.micro_batch})
        return suite.model_copy(
            update={
                "seeds": self.seeds or suite.seeds,
                "tuning": suite.tuning.model_copy(update={"trials": self.trials or suite.tuning.trials}),
                "training": training,
            }
        )

    def protocol(self) -> str:
        """The harness's protocol, and in parentheses what was changed from the suite's."""
        base = self.suite_definition or load_suite(self.suite)
        suite = self.resolved()
        then = changeable(base)
        return label(PROTOCOL, {name: now for name, now in changeable(suite).items() if now and now != then[name]})


def changeable(suite: Suite) -> dict[str, int | None]:
    """What the command line may change, by the option's name."""
    return {"seeds": suite.seeds, "trials": suite.tuning.trials, "micro_batch": suite.training.micro_batch}
