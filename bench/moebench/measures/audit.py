"""The audit of a trained model: questions among those that are scored, which an honest model answers alike.

They go through the loop that scores, in one row with the batches of the test part, in an order of chance: no layer can
know which is which. What is compared are the model's own answers, so no label is needed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from moebench.budgets.flops import flops_of
from moebench.hosts.host import Host
from moebench.plugins.backends import choose_backend
from moebench.plugins.surroundings import Surroundings
from moebench.tasks import Split, Values
from moebench.training.evaluate import Answer, Read, answers, outputs_of

INPUTS = 8
"""Of the test part, whose answers are compared."""

ENOUGH = 64
"""Inputs of a batch that fill an expert, if anything does."""

COPIED = 4
"""Inputs that follow near-copies of themselves."""

NEAR, LOUD = 0.01, 5.0
"""Deviation of a near-copy, and size of the other inputs of a batch, in deviations of the inputs."""

SAME: Mapping[str, float] = {"fp32": 1e-3, "bf16": 0.1}
"""The largest difference, as a share of the answer, that another order of summation makes in a whole model."""

MOST: Mapping[str, float] = {"fp32": 0.25, "bf16": 0.5}
"""Share of the inputs that may differ by more: a near tie of a router may flip."""

LARGE: Mapping[str, float] = {"fp32": 0.5, "bf16": 1.0}
"""A difference, as a share of the answer, that a flip makes in one input at most: it is nearly another answer."""

FLOPS = 1.2
"""A pass may need this many times the FLOPs that are quoted: loads vary."""


class Audit:
    """One model's. Made before it is scored; the steps follow in the order of the methods.

    counts: as a record has them, of the model before it was trained. ordered: how many tokens of an input have an
    answer that depends on no later one; 0 where there is no such order. codes: how many columns of an input, the first
    ones, are codes of categories, which are left as they are. around: the process before the layer's code was imported.
    """

    def __init__(
        self,
        model: Host,
        counts: Mapping[str, Any],
        *,
        ordered: int = 0,
        codes: int = 0,
        precision: str = "fp32",
        backend: str | None = None,
        seed: int = 0,
        around: Surroundings | None = None,
    ) -> None:
        self._model, self._counts, self._ordered, self._codes = model, counts, ordered, codes
        self._precision, self._backend, self._around = precision, backend, around
        self._generator = torch.Generator().manual_seed(seed)
        self._before = _prints(model)
        self._asked: dict[str, list[Split]] = {}
        self._outputs: dict[int, dict[str, Tensor]] = {}
        self._seconds = 0.0

    def questions(self, data: Split, batch: int) -> list[Split]:
        """The batches of ``data`` and those of the audit, in an order of chance."""
        self._real = list(data.batches(batch))
        full = [part for part in self._real if len(part) >= ENOUGH]
        self._base = min(full or self._real, key=len)
        self._rows = torch.arange(min(INPUTS, len(self._base))) * len(self._base) // min(INPUTS, len(self._base))
        base, rows = self._base, self._rows.to(data.inputs.device)
        self._asked = {
            "repeat": [base[:]],
            "labels": [Split(base.inputs, base[self._backwards(base)].targets, base.groups_NT)],
            "alone": [base[int(row) : int(row) + 1] for row in rows],
            "others": [self._among_others(base, rows)],
            "copies": [self._after_copies(base, int(row)) for row in rows[:COPIED]],
        }
        if self._ordered > 1:
            self._asked["later"] = [self._with_later_tokens(base[rows])]
        parts = [*self._real, *(part for parts in self._asked.values() for part in parts)]
        return [parts[place] for place in torch.randperm(len(parts), generator=self._generator)]

    def heard(self, read: Read) -> Read:
        """``read``, which also keeps the answers that are compared."""
        kept = {id(part) for parts in self._asked.values() for part in parts} | {id(self._base)}

        def both(outputs: Values, part: Split) -> Values:
            if id(part) in kept:
                self._outputs[id(part)] = {name: output.clone() for name, output in outputs.items()}
            return read(outputs, part)

        return both

    def scored(self, parts: list[Split], found: list[Answer]) -> list[Answer]:
        """The answers to the batches of the data, in their order."""
        by_part = {id(part): answer for part, answer in zip(parts, found, strict=True)}
        return [by_part[id(part)] for part in self._real]

    def report(self) -> dict[str, Any]:
        """``found``: what does not hold, each with its code and facts; ``flops_ratio``; ``seconds`` it took beside the
        answers. The last step, after all scores are made.
        """
        clock = time.perf_counter()
        found = [*self._answers_differ(), *self._model_differs(), *self._process_differs()]
        ratio = self._flops_ratio()
        if ratio is not None and ratio > FLOPS:
            found.append({"code": "flops", "ratio": round(ratio, 3), "batch": len(self._base)})
        seconds = round(time.perf_counter() - clock, 3)
        return {"found": found, "flops_ratio": None if ratio is None else round(ratio, 4), "seconds": seconds}

    def _backwards(self, base: Split) -> Tensor:
        """The rows of a batch from its last to its first: other labels, of which there are as many of each kind."""
        return torch.arange(len(base) - 1, -1, -1, device=base.inputs.device)

    def _among_others(self, base: Split, rows: Tensor) -> Split:
        """The inputs last, after as many as there were, half of them loud, half of them all the same."""
        others = base.inputs[
            torch.randperm(len(base), generator=self._generator).to(rows.device)[: len(base) - len(rows)]
        ]
        half = len(others) // 2
        if others.is_floating_point():
            others[:half, self._codes :] *= LOUD
        if half < len(others):
            others[half:] = others[half].clone()
        places = torch.cat([torch.arange(len(others), device=rows.device), rows])
        return _with(base, torch.cat([others, base.inputs[rows]]), places)

    def _after_copies(self, base: Split, row: int) -> Split:
        """An input after near-copies of itself."""
        copies = base.inputs[row].expand(ENOUGH, *base.inputs.shape[1:]).clone()
        noise = torch.randn(copies.shape, generator=self._generator).to(copies.device)
        if copies.is_floating_point():
            numbers = slice(self._codes, None)
            deviation = base.inputs[:, numbers].std()
            copies[:-1, numbers] += (NEAR * deviation * noise[:-1, numbers]).to(copies)
        else:  # token ids: one is another
            other = torch.randint(base.inputs.numel(), (ENOUGH - 1,), generator=self._generator).to(copies.device)
            copies[:-1, 0] = base.inputs.flatten()[other]
        return _with(base, copies, torch.full((ENOUGH,), row))

    def _with_later_tokens(self, few: Split) -> Split:
        """Inputs of which the later half of the answered tokens are another's."""
        ids, cut = few.inputs.clone(), few.inputs.shape[1] - self._ordered // 2
        ids[:, cut:] = few.inputs.roll(1, 0)[:, cut:]
        return Split(ids, few.targets, few.groups_NT)

    def _answers_differ(self) -> list[dict[str, Any]]:
        found = list[dict[str, Any]]()
        base = self._outputs[id(self._base)]
        of_rows = {name: output[self._rows.to(output.device)] for name, output in base.items()}
        pairs = {
            "repeat": (self._of("repeat"), base),
            "labels": (self._of("labels"), base),
            "alone": (self._of("alone"), of_rows),
            "others": (_last(self._of("others"), len(self._rows)), of_rows),
            "copies": (_every(self._of("copies"), ENOUGH), {name: each[:COPIED] for name, each in of_rows.items()}),
        }
        if self._ordered > 1:
            earlier = self._ordered - self._ordered // 2
            pairs["later"] = (_first(self._of("later"), earlier), _first(of_rows, earlier))
        if any(not bool(output.isfinite().all()) for outputs in self._outputs.values() for output in outputs.values()):
            found.append({"code": "not_finite"})
        for code, (got, want) in pairs.items():
            gap_N = _gap(got, want)
            over = float((gap_N > SAME[self._precision]).double().mean())
            differs = over > MOST[self._precision] or int((gap_N > LARGE[self._precision]).sum()) > 1
            if differs and not (code == "labels" and found and found[0]["code"] == "repeat"):
                found.append({"code": code, "gap": float(f"{min(float(gap_N.max()), 1e6):.4g}")})
        return found

    def _of(self, code: str) -> dict[str, Tensor]:
        """The answers to all parts of a question."""
        outputs = [self._outputs[id(part)] for part in self._asked[code]]
        return {name: torch.cat([each[name] for each in outputs]) for name in outputs[0]}

    def _model_differs(self) -> list[dict[str, Any]]:
        """What evaluation, or training, changed of the model itself."""
        found = list[dict[str, Any]]()
        after, planned = _prints(self._model), self._counts.get("model_params")
        changed = [name for name in {**self._before, **after} if self._before.get(name) != after.get(name)]
        if changed:
            found.append({"code": "state", "names": ", ".join(changed[:3])})
        now = sum(parameter.numel() for parameter in self._model.parameters())
        if planned is not None and now != planned:
            found.append({"code": "parameters", "now": now, "planned": planned})
        return found

    def _process_differs(self) -> list[dict[str, Any]]:
        """What the layer's code changed for all that is trained and scored in this process."""
        if self._around is None:
            return []
        found = {"replaced": self._around.replaced(), "settings": self._around.changed()}
        return [{"code": code, "names": ", ".join(names[:3])} for code, names in found.items() if names]

    def _flops_ratio(self) -> float | None:
        """FLOPs of the expert layers in a pass like those that were scored, over those quoted; None where none are."""
        quoted, whole = self._counts.get("flops_per_input"), self._counts.get("model_flops_per_input")
        if not quoted or whole is None:
            return None
        parts = [self._base]
        counted = flops_of(
            self._model, lambda: answers(self._model, parts, outputs_of, precision=self._precision), warm=False
        )
        choose_backend(self._model, self._backend)
        return float((counted / len(self._base) - (whole - quoted)) / quoted)


def _with(base: Split, inputs: Tensor, places: Tensor) -> Split:
    """Inputs with the labels and groups that stand at ``places``, which are sealed as those of ``base``."""
    return Split(inputs, base[places.to(inputs.device)].targets, _groups(base, places.to(inputs.device)))


def _groups(base: Split, places: Tensor) -> Tensor | None:
    return None if base.groups_NT is None else base.groups_NT[places]


def _first(outputs: dict[str, Tensor], tokens: int) -> dict[str, Tensor]:
    """Of each input the answers to its first tokens."""
    return {name: output[:, :tokens] for name, output in outputs.items()}


def _last(outputs: dict[str, Tensor], count: int) -> dict[str, Tensor]:
    return {name: output[-count:] for name, output in outputs.items()}


def _every(outputs: dict[str, Tensor], size: int) -> dict[str, Tensor]:
    """The last of each group of ``size``."""
    return {name: output[size - 1 :: size] for name, output in outputs.items()}


def _gap(got: Mapping[str, Tensor], want: Mapping[str, Tensor]) -> Tensor:
    """gap_N: the largest difference of an input's answers as a share of the largest, or of a mean one if that is more;
    infinite where an answer is not finite.
    """
    worst: list[Tensor] = []
    for name, answer in want.items():
        one, other = got[name].flatten(1).double(), answer.flatten(1).double()
        size_N = other.abs().amax(1)
        gap_N = (one - other).abs().amax(1) / torch.maximum(size_N, 0.1 * size_N.mean()).clamp_min(1e-12)
        worst.append(gap_N.nan_to_num(nan=torch.inf))
    return torch.stack(worst).amax(0)


def _prints(model: Host) -> dict[str, tuple[Any, ...]]:
    """Of each parameter and buffer its shape, and a digest of its numbers."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    with torch.no_grad():
        return {name: (tuple(each.shape), str(each.dtype), _digest(each.detach())) for name, each in tensors.items()}


def _digest(tensor: Tensor) -> str:
    """Of the bits, and the sum."""
    if not tensor.numel():
        return ""
    data = (torch.view_as_real(tensor) if tensor.is_complex() else tensor).contiguous().flatten()
    bits = torch.hash_tensor(data).view(torch.int64).item()
    return f"{bits} {data.sum(dtype=torch.float64).item()}"
