"""The weights of finished runs: kept, put back, and compared with what the run answered."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from moebench.errors import ResultsError
from moebench.files import read_bytes
from moebench.hosts.host import Host
from moebench.records import Store
from moebench.records.store import write_atomic
from moebench.runner.checkpoints import CHECKPOINT
from moebench.tasks import Split, Values
from moebench.text import told
from moebench.training.evaluate import evaluate
from moebench.training.model_state import from_bytes, put_state, size_given, state_of, to_bytes

ANSWERED = 8
"""Validation inputs of which a final run keeps its answers."""

VALUES = 64
"""The most values of an answer that are kept, spread over all of it."""

INPUTS, GROUPS, ANSWER = "answered_inputs", "answered_groups", "answer_"
"""Arrays of a sidecar; the last begins the name of a target's."""

CLOSE = {True: 1e-3, False: 5e-2}
"""Largest difference from a stored answer, as a share of the largest: in fp32 on the same kind of device, or not."""


def save_weights(model: Host, store: Store, identity: str) -> str:
    """Keep the state of a trained model; why it could not be kept, as one sentence, else an empty string."""
    try:
        write_atomic(store.weights_path(identity), to_bytes(state_of(model)))
    except Exception as error:  # another author's code, or a full disk: the run is done all the same
        said = told(error)
        cause = f"it has {said.partition(': ')[2]}" if isinstance(error, ValueError) else said
        return f"the weights were not kept: {cause}."
    return ""


def load_weights(model: Host, store: Store, identity: str, device: torch.device) -> bool:
    """Put the kept weights of a run into its model; False where none were kept.

    :class:`ResultsError` where they do not fit, or where the model then answers otherwise than the run did.
    """
    path, name = store.weights_path(identity), f"record {identity}"
    if not path.exists():
        return False
    try:
        put_state(model, from_bytes(read_bytes(path, CHECKPOINT, size_given))[0])
    except Exception as error:
        raise ResultsError(
            f"the weights '{path}' do not fit {name}: {told(error)}.", code="weights-misfit", path=path
        ) from error
    _compare(model, store, identity, device)
    return True


def answers(model: Host, data: Split, precision: str) -> dict[str, np.ndarray]:
    """What a model answers to a few inputs, and the inputs, as arrays of a sidecar."""
    few = data[:ANSWERED]
    arrays = {INPUTS: few.inputs} | ({} if few.groups_NT is None else {GROUPS: few.groups_NT})
    arrays |= {f"{ANSWER}{name}": value for name, value in _answered(model, few, precision).items()}
    return {name: tensor.cpu().numpy() for name, tensor in arrays.items()}


def _answered(model: Host, few: Split, precision: str) -> dict[str, Tensor]:
    """By target, (N, values) in fp32; what the model draws is the same each time."""

    def read(outputs: Values, batch: Split) -> Values:
        flat = {name: value.reshape(len(batch), -1) for name, value in outputs.items()}
        return {name: value[:, :: max(1, value.shape[1] // VALUES)][:, :VALUES] for name, value in flat.items()}

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return dict(evaluate(model, few, read, batch=ANSWERED, precision=precision).values)


def _compare(model: Host, store: Store, identity: str, device: torch.device) -> None:
    """:class:`ResultsError` where the model is another than the one whose answers the record keeps.

    The median over inputs decides, for a rounding may send a token to another expert. Records of earlier versions keep
    no answers, and nothing is compared.
    """
    kept, record = store.arrays(identity), store.get(identity)
    if INPUTS not in kept or record is None:
        return
    precision = str(record.cell["precision"])
    groups = torch.from_numpy(kept[GROUPS]).to(device) if GROUPS in kept else None
    few = Split(torch.from_numpy(kept[INPUTS]).to(device), {}, groups)
    alike = precision == "fp32" and record.provenance.get("device_type", device.type) == device.type
    for name, got in _answered(model, few, precision).items():
        want = torch.from_numpy(kept[f"{ANSWER}{name}"]).to(device)
        scale = want.abs().max().clamp_min(1e-6)
        apart = float(((got - want).abs().amax(1) / scale).median())
        if not apart <= CLOSE[alike]:
            raise ResultsError(
                f"the model of record {identity} answers otherwise with its kept weights than when it was scored "
                f"(by {apart:.2g} of the largest output); it has state that no weights file holds.",
                code="weights-answer-otherwise",
                record=identity,
                difference=apart,
            )
