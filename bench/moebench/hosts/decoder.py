"""A causal decoder: each token's answer is read off the tokens before it."""

from __future__ import annotations

from typing import ClassVar, Literal

from moebench.hosts.transformer import TransformerSettings


class DecoderSettings(TransformerSettings):
    """A causal decoder; a token is answered by what comes after it.

    What comes after a token changes nothing of its answer, so that one pass over an input with its right answer in it
    says what the model would have answered token by token, as long as it was right. Settings as
    :class:`TransformerSettings`: ``norm = "rms"``, ``positions = "rotary"``, ``bias = false`` and
    ``activation = "swiglu"`` make it the decoder that people train now (Llama's).
    """

    causal: ClassVar[bool] = True

    name: Literal["decoder"] = "decoder"
