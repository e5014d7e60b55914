"""A trained sparse model made smaller: its score before and after recovery, its size and its work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from moebench.budgets.count import count_layers
from moebench.errors import UsageError
from moebench.hosts.host import Host
from moebench.measures.compression.compress import compress, meet
from moebench.measures.compression.compressor import load_compressor, rests_on
from moebench.measures.compression.recover import recover
from moebench.measures.compression.sizes import stable_rank, weights_mib
from moebench.measures.cost import put_costs
from moebench.measures.scores.final import Scores
from moebench.measures.subject import Subject
from moebench.measures.subset.cost import costs, flops_per_input
from moebench.measures.subset.infer import ALL, experts_of
from moebench.tasks import Classes, Task
from moebench.training.recipe import Recipe

WORKED = 256
"""Test inputs that FLOPs are counted on, because what a sparse layer does depends on them."""


FRESH = 4
"""From the seed of the training, which uses it and the three that follow, to that of recovery."""


@rests_on(lambda takes: [takes["method"]])
def compressed(
    subject: Subject,
    *,
    method: str,
    keep: int,
    inputs: int,
    steps: int,
    batch: int,
    lr: float,
    settings: Mapping[str, Any] | None = None,
) -> Scores:
    """The model made smaller by a ``method`` (of ``moebench.compressors``) to ``keep`` experts a layer on average, by
    its inputs and routing on the first ``inputs`` of the validation data; then fine-tuned for ``steps`` steps with
    distillation from the whole model.

    ``before``, ``unrecovered`` and ``after``: the task's headline on test data. With and without `` before`` at the
    end: ``model_params``; ``layers_params``, of the expert layers, routers included; ``weights_mib`` of the model;
    ``model_flops`` and ``layers_flops`` per input, means over test inputs; ``stable_rank``, see
    :func:`moebench.measures.compression.sizes.stable_rank`, null where experts have other parameters than before.
    ``experts <layer>``: how many there are.
    """
    model, test = subject.model, subject.data("test")
    smaller = make_smaller(subject, method, keep, inputs, settings or {})
    scores = Scores()
    scores.put("before", _score(subject, model))
    scores.put("unrecovered", _score(subject, smaller))
    finite = not steps or _recovered(subject, smaller, steps, batch, lr)
    reason = "it was not recovered" if finite else "its loss in recovery was not finite"
    scores.put("after", _score(subject, smaller) if steps and finite else None, reason)
    for end, of in (("", smaller), (" before", model)):
        layers = of.layers()
        scores.put(f"model_params{end}", sum(p.numel() for p in of.parameters()))
        scores.put(f"layers_params{end}", count_layers(layers).total)
        scores.put(f"weights_mib{end}", weights_mib(of))
        whole, alone = flops_per_input(of, test.inputs[:WORKED], precision=subject.precision)
        scores.put(f"model_flops{end}", whole)
        scores.put(f"layers_flops{end}", alone)
        same = [each.expert_parameters() for each in layers] == [each.expert_parameters() for each in model.layers()]
        reason = "its experts have no matrices" if same else "its experts have other parameters than before"
        scores.put(f"stable_rank{end}", stable_rank(layers) if same else None, f"{reason}, or none that are finite")
    for index, layer in enumerate(smaller.layers()):
        scores.put(f"experts {index}", layer.num_experts)
    return scores


@rests_on(lambda takes: takes["methods"])
def compressed_cost(
    subject: Subject,
    *,
    methods: Sequence[str],
    keeps: Sequence[int],
    inputs: int,
    batches: Sequence[int],
    rounds: int,
    repeats: int,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
) -> Scores:
    """Milliseconds and memory of the whole model and of each method at each number kept, timed in turns, not recovered.

    ``<method> <keep> model_ms batch=1`` with its quartiles, ``..._low`` and ``..._high``; ``layers_ms`` of the expert
    layers alone; ``peak_memory_mib`` of one pass of the largest batch. ``whole`` is the model as it was. settings: of a
    method, by its name.
    """
    rivals = {"whole": (subject.model, ALL)}
    for method in methods:
        for keep in keeps:
            smaller = make_smaller(subject, method, keep, inputs, (settings or {}).get(method, {}))
            rivals[f"{method} {keep}"] = smaller, ALL
    found = costs(
        rivals,
        subject.data("test"),
        batches=batches,
        precision=subject.precision,
        rounds=rounds,
        repeats=repeats,
    )
    scores = Scores()
    for name, cost in found.items():
        put_costs(scores, name, cost)
    return scores


def beside_the_whole(
    subject: Subject,
    *,
    methods: Sequence[str],
    keep: int,
    inputs: int,
    steps: int,
    batch: int,
    lr: float,
    batches: Sequence[int],
    settings: Mapping[str, Mapping[str, Any]],
) -> tuple[dict[str, dict[str, float | None]], dict[str, float | None]]:
    """:func:`compressed` of the whole model (``keep_all``: fine-tuned for as many steps) and of each method, and
    :func:`compressed_cost` of all of them; what cannot be done is found out before anything is recovered.
    """
    ways = {"keep_all": experts_of(subject.model), **dict.fromkeys(methods, keep)}
    for method in methods:
        make_smaller(subject, method, keep, inputs, settings.get(method, {}))
    takes: dict[str, Any] = {"inputs": inputs, "steps": steps, "batch": batch, "lr": lr}
    scores = {
        method: compressed(subject, method=method, keep=kept, settings=settings.get(method), **takes).values
        for method, kept in ways.items()
    }
    cost = compressed_cost(
        subject,
        methods=[method for method in ways if method != "keep_all"],
        keeps=[keep],
        inputs=inputs,
        batches=batches,
        rounds=10,
        repeats=5,
        settings=settings,
    )
    return scores, cost.values


def make_smaller(subject: Subject, method: str, keep: int, inputs: int, settings: Mapping[str, Any]) -> Host:
    """The model made smaller, not recovered; errors of :func:`moebench.measures.compression.compress.compress`."""
    _classes(subject.task)
    met = meet(subject.model, subject.data("validation").inputs[:inputs], precision=subject.precision)
    return compress(subject.model, met, load_compressor(method), keep, settings, subject.seed)


def _classes(task: Task) -> Classes:
    """The task, if it has logits to distil; :class:`UsageError` otherwise."""
    if not isinstance(task, Classes):
        name = task.info.name
        raise UsageError(
            f"task '{name}' has no classes, and a compressed model learns from logits over classes.",
            code="compress-needs-classes",
            task=name,
        )
    return task


def _score(subject: Subject, model: Host) -> float:
    return ALL.score(model, subject.task, subject.data("test"), precision=subject.precision)


def _recovered(subject: Subject, smaller: Host, steps: int, batch: int, lr: float) -> bool:
    """Whether the loss stayed finite. The recipe is the same for every method: batches, their order and their
    augmentation, which are not those of the training.
    """
    recipe = Recipe(
        steps=steps,
        batch=batch,
        micro_batch=None,
        lr=lr,
        weight_decay=0.0,
        loss_weights={},
        precision=subject.precision,
        augment=subject.task.augment,
        seed=subject.seed + FRESH,
    )
    return recover(smaller, subject.model, _classes(subject.task), subject.data("train"), recipe)
