"""What a language model writes: token by token, each drawn from what the model makes of those before it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from moebench.hosts.host import Call, Host
from moebench.tasks import Split
from moebench.training.evaluate import asking, run_pass

GREEDY = 0.0
"""The temperature at which the likeliest token is taken, without a draw."""


def continued(
    model: Host,
    ids: Sequence[int],
    tokens: int,
    *,
    window: int,
    target: str = "token",
    temperature: float = GREEDY,
    seed: int = 0,
    precision: str = "fp32",
) -> list[int]:
    """So many token ids after ``ids``, of which there is one at least, by a causal model.

    It reads the last ``window`` of them, as in training. What is missing there stands behind and changes nothing, since
    the model is causal. temperature: logits are divided by it; 0 is greedy decoding. Draws are from a generator on the
    CPU.
    """
    generator, known = torch.Generator().manual_seed(seed), [*ids]
    device = next(model.parameters()).device
    with asking(model):
        for _ in range(tokens):
            read = known[-window:]
            ids_1T = torch.tensor([read + [0] * (window - len(read))], device=device)
            outputs = run_pass(model, Split(ids_1T, {}), precision, Call())
            logits_V = outputs[target][0, len(read) - 1].float().cpu()
            if temperature == GREEDY:
                known.append(int(logits_V.argmax()))
            else:
                chance_V = (logits_V / temperature).softmax(0)
                known.append(int(torch.multinomial(chance_V, 1, generator=generator)))
    return known[len(ids) :]
