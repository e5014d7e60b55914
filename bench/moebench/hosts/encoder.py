"""An encoder of the decoder's blocks: every token sees all others, and answers for itself."""

from __future__ import annotations

from typing import Literal

from moebench.hosts.transformer import TransformerSettings


class EncoderSettings(TransformerSettings):
    """For masked tokens; layers that are not causal have a place in it. Settings as :class:`TransformerSettings`."""

    name: Literal["encoder"] = "encoder"
