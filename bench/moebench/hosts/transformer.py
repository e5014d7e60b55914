"""Transformers of token ids whose attention, norms and embeddings are the same for every variant; their MLPs are expert
layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from moebench.contract import Context, Layer
from moebench.errors import SuiteError
from moebench.hosts.host import Host, Site
from moebench.hosts.positions import Positions, angles, check_width, rotated, sincos, std_of
from moebench.hosts.settings import HostSettings, LayerPlace
from moebench.tasks import Inputs, TaskInfo, Tokens

DEVIATION = 0.02
"""Of the embeddings at the start, as of GPT-2's."""

ROTARY_BASE = 10_000.0
"""As of arXiv 2104.09864."""

RMS_EPS = 1e-6
"""Added to the mean square, as Llama's."""


@dataclass
class Seen:
    """Keys and values of the tokens that one block has read, k_BhTd and v_BhTd; empty at first."""

    keys: Tensor | None = None
    values: Tensor | None = None

    @property
    def count(self) -> int:
        """T of them."""
        return 0 if self.keys is None else self.keys.shape[2]

    def add(self, k_BhTd: Tensor, v_BhTd: Tensor) -> tuple[Tensor, Tensor]:
        """Those of all tokens, with these as the last."""
        if self.keys is not None and self.values is not None:
            k_BhTd, v_BhTd = torch.cat([self.keys, k_BhTd], 2), torch.cat([self.values, v_BhTd], 2)
        self.keys, self.values = k_BhTd, v_BhTd
        return k_BhTd, v_BhTd


class Attention(nn.Module):
    """Multi-head self-attention; in a causal one a token sees itself and those before it.

    angle_TF: of their places, by which queries and keys are turned; None where they are not.
    """

    angle_TF: Tensor | None

    def __init__(self, settings: TransformerSettings, angle_TF: Tensor | None) -> None:
        super().__init__()
        self.heads, self.causal = settings.heads, settings.causal
        self.register_buffer("angle_TF", angle_TF, persistent=False)
        self.qkv = nn.Linear(settings.dim, 3 * settings.dim, bias=settings.bias)
        self.out = nn.Linear(settings.dim, settings.dim, bias=settings.bias)

    def forward(self, x_BTD: Tensor, seen: Seen | None = None) -> Tensor:
        """y_BTD; with ``seen``, x is what follows those tokens, and becomes part of them."""
        batch, tokens, dim = x_BTD.shape
        split = self.qkv(x_BTD).view(batch, tokens, 3, self.heads, dim // self.heads)
        q_BhTd, k_BhTd, v_BhTd = split.permute(2, 0, 3, 1, 4)
        first = 0 if seen is None else seen.count
        if self.angle_TF is not None:
            angle_TF = self.angle_TF if seen is None else self.angle_TF[first : first + tokens]
            q_BhTd, k_BhTd = rotated(q_BhTd, angle_TF), rotated(k_BhTd, angle_TF)
        if seen is not None:
            k_BhTd, v_BhTd = seen.add(k_BhTd, v_BhTd)
        y_BhTd = F.scaled_dot_product_attention(q_BhTd, k_BhTd, v_BhTd, is_causal=self.causal and not first)
        y_BTD: Tensor = self.out(y_BhTd.transpose(1, 2).reshape(batch, tokens, dim))
        return y_BTD


class Block(nn.Module):
    """x <- x + attention(norm(x)), then x <- x + layer(norm(x))."""

    def __init__(self, settings: TransformerSettings, angle_TF: Tensor | None) -> None:
        super().__init__()
        self.norm1, self.norm2 = settings.normaliser(), settings.normaliser()
        self.attention = Attention(settings, angle_TF)
        self.mlp: nn.Module = nn.Identity()  # vacant until the layer comes

    def forward(self, x_BTD: Tensor, context: Context, seen: Seen | None = None) -> Tensor:
        """The stream after the block."""
        x_BTD = x_BTD + self.attention(self.norm1(x_BTD), seen)
        y_BTD: Tensor = x_BTD + self.mlp(self.norm2(x_BTD), context)
        return y_BTD


class TransformerSettings(HostSettings):
    """Every MLP is an expert layer. norm: LayerNorm, or RMSNorm (arXiv 1910.07467), as language models have it now.
    ``bias``: of attention and LayerNorm, too. tied: whether the head's weights are the token embeddings.

    positions: how tokens know their place: ``sincos`` (fixed, at the root mean square of the token embeddings),
    ``learned``, or ``rotary`` (in attention alone). position_std: the standard deviation at which learned positions
    start (default 0.02, that of the token embeddings).
    """

    reads: ClassVar[type[Inputs]] = Tokens

    dim: int = Field(64, ge=2)
    depth: int = Field(2, ge=1)
    heads: int = Field(4, ge=1)
    norm: Literal["layer", "rms"] = "layer"
    tied: bool = False
    positions: Positions = "learned"
    position_std: float | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _heads_share(self) -> TransformerSettings:
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} must be a multiple of heads {self.heads}")
        object.__setattr__(self, "position_std", std_of(self.positions, self.position_std, DEVIATION))
        check_width(self.positions, self.dim, self.heads, axes=1)
        return self

    def normaliser(self) -> nn.Module:
        """A norm over D."""
        return nn.LayerNorm(self.dim, bias=self.bias) if self.norm == "layer" else nn.RMSNorm(self.dim, eps=RMS_EPS)

    def places(self, task: TaskInfo) -> list[LayerPlace]:
        """One in each block."""
        assert isinstance(task.inputs, Tokens)
        if self.tied and task.outputs > task.inputs.vocabulary:
            raise SuiteError(
                f"a tied head answers with tokens of the vocabulary, {task.inputs.vocabulary} of them; task "
                f"'{task.name}' has {task.outputs} outputs.",
                code="head-not-tied",
                task=task.name,
            )
        return [LayerPlace(self.dim, task.inputs.length, vocabulary=task.inputs.vocabulary)] * self.depth

    def build(self, task: TaskInfo) -> Transformer:
        """The network."""
        return Transformer(self, task)


class Transformer(Host):
    """Token ids ids_BT -> token and place embeddings -> ``depth`` blocks -> norm -> head.

    The last A tokens answer, (B, A, O): in a decoder with the logits of the token after each, in an encoder with those
    of the token itself.
    """

    place_TD: Tensor | None

    def __init__(self, settings: TransformerSettings, task: TaskInfo) -> None:
        super().__init__(task.targets)
        text = task.inputs
        assert isinstance(text, Tokens)  # the shapes of its layers were worked out first
        self.answer, self.tied, self.size, self.causal = text.answer, settings.tied, task.outputs, settings.causal
        self.token_VD = nn.Parameter(DEVIATION * torch.randn(text.vocabulary, settings.dim))
        self._place(settings, text.length)
        angle_TF = None
        if settings.positions == "rotary":
            angle_TF = angles([text.length], settings.dim // settings.heads // 2, ROTARY_BASE)
        self.blocks = nn.ModuleList(Block(settings, angle_TF) for _ in range(settings.depth))
        self.norm = settings.normaliser()
        if not settings.tied:
            self.head = nn.Linear(settings.dim, task.outputs, bias=False)

    def _place(self, settings: TransformerSettings, length: int) -> None:
        """What is added to the tokens: nothing where places are in attention."""
        if settings.positions == "learned":
            assert settings.position_std is not None  # spelled out when it was validated
            self.place_TD = nn.Parameter(settings.position_std * torch.randn(length, settings.dim))
        elif settings.positions == "sincos":
            # Of the root mean square of the token embeddings.
            place_TD = sincos([length], settings.dim) * (DEVIATION * 2**0.5)
            self.register_buffer("place_TD", place_TD, persistent=False)
        else:
            self.place_TD = None

    def attach(self, layers: list[Layer]) -> None:
        """Put the layers in the places of the MLPs, first block first."""
        for block, layer in zip(self.blocks, layers, strict=True):
            assert isinstance(block, Block)
            block.mlp = Site(layer)

    def head_outputs(self, x: Tensor) -> Tensor:
        """Logits of the answers (B, A, O) of ids_BT."""
        return self._logits(self.stream(x.long())[:, -self.answer :])

    def next_outputs(self, ids_Bt: Tensor, seen: Sequence[Seen]) -> Tensor:
        """Logits (B, O) of the last of some tokens in a causal model, which become part of ``seen``, one a block.

        They are the first ones, or a single one that follows those. A layer that reads the place of a token takes a
        single one for the first of its input.
        """
        return self._logits(self.stream(ids_Bt.long(), seen)[:, -1])

    def _logits(self, x: Tensor) -> Tensor:
        if self.tied:
            return F.linear(self.norm(x), self.token_VD[: self.size])
        logits: Tensor = self.head(self.norm(x))
        return logits

    def stream(self, ids_BT: Tensor, seen: Sequence[Seen] | None = None) -> Tensor:
        """x_BTD after the last block; ``seen`` as in :meth:`next_outputs`."""
        context = Context(token_ids_BT=ids_BT)
        x_BTD = F.embedding(ids_BT, self.token_VD)
        if self.place_TD is not None:
            first = seen[0].count if seen else 0
            x_BTD = x_BTD + (self.place_TD if seen is None else self.place_TD[first : first + ids_BT.shape[1]])
        for index, block in enumerate(self.blocks):
            x_BTD = block(x_BTD, context, None if seen is None else seen[index])
        return x_BTD
