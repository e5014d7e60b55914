"""What a subset of the experts saves: the paper's layer alone, and the whole models whose accuracy is quoted."""

from __future__ import annotations

from moebench.studies.claim import Bound, Claim, Finding, Item, SeededEstimate, every
from moebench.studies.evidence import Evidence, Run

PART = "paper-latency"
LAYER = "E=8 H=30720 D=768"
MODELS = ("Fashion-MNIST", "CIFAR-10")
BATCHES = (1, 100)
PAPERS = {1: 2.16, 100: 1.92}
"""Batch -> how many times faster k = E/4 is in the paper (RTX 2080 Ti)."""

IDEAL = 4


def timed(run: Run, part: str, k: int, batch: int) -> tuple[float, float, float] | None:
    """Milliseconds of a part of the model, ``layers`` or ``model``: the median and its quartiles over rounds."""
    return _with_ends(run, f"k={k} {part}_ms", batch)


def speed_up(run: Run, part: str, share: int, batch: int) -> SeededEstimate | None:
    """All experts' time over that of k = E / share: the median of ratios taken inside each round, with its interval."""
    found = _with_ends(run, f"k={run.setting('experts') // share} {part}_speedup", batch)
    return SeededEstimate(*found) if found else None


def _with_ends(run: Run, name: str, batch: int) -> tuple[float, float, float] | None:
    """A number, its low and its high end; None where one is missing."""
    value, low, high = (run.record.scores.get(f"{name}{end} batch={batch}") for end in ("", "_low", "_high"))
    return None if value is None or low is None or high is None else (value, low, high)


def allowed(run: Run, share: int, batch: int) -> float | None:
    """The same ratio of the times below which the machine cannot go."""
    experts = run.setting("experts")
    whole, some = (run.record.scores.get(f"k={k} layers_bound_ms batch={batch}") for k in (experts, experts // share))
    return None if whole is None or some is None else whole / some


def _layer(batch: int) -> Claim:
    def judge(evidence: Evidence) -> Finding:
        items = []
        for run in evidence.find(PART, "cost", LAYER):
            bound = allowed(run, IDEAL, batch)
            note = f"the machine's roofline allows {bound:.2f}x" if bound else ""
            found = speed_up(run, "layers", IDEAL, batch)
            what = f"k = {run.setting('experts') // IDEAL} of E = {run.setting('experts')}"
            items.append(Bound(PAPERS[batch], least_seeds=0).judge(what, found, note))
        return every(items)

    return Claim(
        key=f"latency-batch-{batch}",
        part=PART,
        statement=f"A quarter of the experts makes the layer {PAPERS[batch]:.2f} times as fast at batch {batch}.",
        paper=f"{PAPERS[batch]:.2f}x on an RTX 2080 Ti, six layers of E = 8, H = 30,720, D = 768; {IDEAL}x is ideal.",
        here="One such layer on this machine: time with all experts over time with k = E/4, selection included.",
        rule="Holds when the interval, over rounds in which both took turns, lies above the paper's ratio.",
        unit="ratio",
        judge=judge,
    )


def _models(evidence: Evidence) -> Finding:
    items: list[Item] = []
    for row in MODELS:
        for run in evidence.find(PART, "cost", row):
            experts = run.setting("experts")
            flops = [run.record.scores.get(f"k={k} model_flops") for k in (experts, experts // 8)]
            note = f"FLOPs {flops[0] / flops[1]:.2f}x" if flops[0] and flops[1] else ""
            for batch in BATCHES if experts >= 8 else ():
                found = speed_up(run, "model", 8, batch)
                items.append(Bound(1, least_seeds=0).judge(f"{row}, E = {experts}, batch {batch}", found, note))
    return every(items)


LATENCY = (
    *(_layer(batch) for batch in BATCHES),
    Claim(
        key="latency-models",
        source="extension",
        part=PART,
        statement="In the models whose accuracy is quoted, k = E/8 saves time as well.",
        paper="Gives neither time nor FLOPs of these models.",
        here="The whole model on this machine: time with all experts over time with k = E/8, selection included.",
        rule="Holds when for every model and batch the interval lies above 1.",
        unit="ratio",
        judge=_models,
    ),
)
"""Claims of part ``paper-latency``."""
