"""A causal decoder whose attention, norms and embeddings are the same for every variant; its MLPs are expert layers."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from moebench.contract import Context, Layer
from moebench.hosts.host import Host, Site
from moebench.hosts.settings import HostSettings, LayerPlace
from moebench.tasks import Inputs, TaskInfo, Tokens

DEVIATION = 0.02
"""Of the embeddings at the start, as of GPT-2's."""


class CausalAttention(nn.Module):
    """Multi-head self-attention in which a token sees itself and those before it."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """y_BTD."""
        batch, tokens, dim = x_BTD.shape
        split = self.qkv(x_BTD).view(batch, tokens, 3, self.heads, dim // self.heads)
        q_BhTd, k_BhTd, v_BhTd = split.permute(2, 0, 3, 1, 4)
        y_BhTd = F.scaled_dot_product_attention(q_BhTd, k_BhTd, v_BhTd, is_causal=True)
        y_BTD: Tensor = self.out(y_BhTd.transpose(1, 2).reshape(batch, tokens, dim))
        return y_BTD


class Block(nn.Module):
    """x <- x + attention(norm(x)), then x <- x + layer(norm(x))."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = CausalAttention(dim, heads)
        self.mlp: nn.Module = nn.Identity()  # vacant until the layer comes

    def forward(self, x_BTD: Tensor, context: Context) -> Tensor:
        """The stream after the block."""
        x_BTD = x_BTD + self.attention(self.norm1(x_BTD))
        y_BTD: Tensor = x_BTD + self.mlp(self.norm2(x_BTD), context)
        return y_BTD


class DecoderSettings(HostSettings):
    """A causal decoder: each token's answer is read off the tokens before it; every MLP is an expert layer."""

    reads: ClassVar[type[Inputs]] = Tokens
    causal: ClassVar[bool] = True

    name: Literal["decoder"] = "decoder"
    dim: int = Field(64, ge=2)
    depth: int = Field(2, ge=1)
    heads: int = Field(4, ge=1)

    @model_validator(mode="after")
    def _heads_share(self) -> DecoderSettings:
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} must be a multiple of heads {self.heads}")
        return self

    def places(self, task: TaskInfo) -> list[LayerPlace]:
        """One in each block."""
        assert isinstance(task.inputs, Tokens)
        return [LayerPlace(self.dim, task.inputs.length, vocabulary=task.inputs.vocabulary)] * self.depth

    def build(self, task: TaskInfo) -> Decoder:
        """The network."""
        return Decoder(self, task)


class Decoder(Host):
    """Token ids ids_BT -> token and place embeddings -> ``depth`` blocks -> norm -> head.

    The last A tokens answer: each with the logits of the token after it, (B, A, O). What comes after a token changes
    nothing of its answer, so that one pass over an input with its right answer in it says what the model would have
    answered token by token, as long as it was right.
    """

    def __init__(self, settings: DecoderSettings, task: TaskInfo) -> None:
        super().__init__(task.targets)
        text = task.inputs
        assert isinstance(text, Tokens)  # the shapes of its layers were worked out first
        self.answer = text.answer
        self.token_VD = nn.Parameter(DEVIATION * torch.randn(text.vocabulary, settings.dim))
        self.place_TD = nn.Parameter(DEVIATION * torch.randn(text.length, settings.dim))
        self.blocks = nn.ModuleList(Block(settings.dim, settings.heads) for _ in range(settings.depth))
        self.norm = nn.LayerNorm(settings.dim)
        self.head = nn.Linear(settings.dim, task.outputs, bias=False)

    def attach(self, layers: list[Layer]) -> None:
        """Put the layers in the places of the MLPs, first block first."""
        for block, layer in zip(self.blocks, layers, strict=True):
            assert isinstance(block, Block)
            block.mlp = Site(layer)

    def head_outputs(self, x: Tensor) -> Tensor:
        """Logits of the answers (B, A, O) of ids_BT."""
        answers_BAD = self.stream(x.long())[:, -self.answer :]
        logits: Tensor = self.head(self.norm(answers_BAD))
        return logits

    def stream(self, ids_BT: Tensor) -> Tensor:
        """x_BTD after the last block."""
        context = Context(token_ids_BT=ids_BT)
        x_BTD = F.embedding(ids_BT, self.token_VD) + self.place_TD
        for block in self.blocks:
            x_BTD = block(x_BTD, context)
        return x_BTD
