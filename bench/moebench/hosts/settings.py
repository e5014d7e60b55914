"""What a suite says about a host, validated; imports no torch, so that a plan can be read without it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, model_validator

Activation = Literal["gelu", "relu", "silu"]
Reads = Literal["numbers", "token ids"]
"""What a host makes of an input: images and vectors, or text."""


class HostSettings(BaseModel):
    """Fields that every host has. ``activation`` and ``bias`` are those of the expert layers.

    reads: the kind of task that it takes. causal: whether no output may depend on later tokens, so that only causal
    layers have a place in it.
    """

    reads: ClassVar[Reads] = "numbers"
    causal: ClassVar[bool] = False

    # Strict: a number in quotes or a true where a number belongs is a mistake in the suite, not a number.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str
    activation: Activation = "gelu"
    bias: bool = True


class SingleLayerSettings(HostSettings):
    """The paper's host: patches of the image as tokens, one layer, flatten, linear head.

    grid: the image is cut into grid x grid patches. residual: whether the patches are added to the layer's
    output. layer_norm: whether the layer sees normalised patches, with a learned scale and shift.
    """

    name: Literal["single_layer"] = "single_layer"
    activation: Activation = "relu"
    grid: int = Field(2, ge=1)
    residual: bool = False
    layer_norm: bool = False


class TokenSumSettings(HostSettings):
    """A vector cut into tokens, one layer, and the fixed sum of all its outputs (arXiv 2409.00879, appendix C).

    tokens: T; the vector's entries are shared among them evenly. residual: whether the layer's input is added
    to its output before the sum.
    """

    name: Literal["token_sum"] = "token_sum"
    activation: Activation = "relu"
    bias: bool = False
    tokens: int = Field(ge=1)
    residual: bool = False


class BareSettings(HostSettings):
    """One layer and nothing else, each row of the input a token: to measure what a layer costs."""

    name: Literal["bare"] = "bare"


class DecoderSettings(HostSettings):
    """A causal decoder: each token's answer is read off the tokens before it; every MLP is an expert layer."""

    reads: ClassVar[Reads] = "token ids"
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


class ViTSettings(HostSettings):
    """timm's VisionTransformer with the MLPs of chosen blocks replaced; tokens are averaged before the head.

    replace: the blocks whose MLP is replaced (default all). residual: whether the layer keeps the block's
    residual connection around it.
    """

    name: Literal["vit"] = "vit"
    dim: int = Field(64, ge=2)
    depth: int = Field(2, ge=1)
    heads: int = Field(4, ge=1)
    patch: int = Field(2, ge=1)
    replace: Annotated[tuple[StrictInt, ...] | None, Field(strict=False)] = None  # a list, in TOML and JSON
    residual: bool = True

    @model_validator(mode="after")
    def _blocks_exist(self) -> ViTSettings:
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} must be a multiple of heads {self.heads}")
        blocks = self.replaced
        if not blocks or len(set(blocks)) != len(blocks) or not all(0 <= b < self.depth for b in blocks):
            raise ValueError(f"replace {list(blocks)} must name different blocks from 0 to {self.depth - 1}")
        # Spelled out, so that "all" and the list of all are one host with one identity.
        object.__setattr__(self, "replace", blocks)
        return self

    @property
    def replaced(self) -> tuple[int, ...]:
        """The blocks whose MLP is an expert layer, in order."""
        return tuple(range(self.depth)) if self.replace is None else tuple(sorted(self.replace))
