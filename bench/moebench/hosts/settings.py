"""What a suite says about a host, validated; imports no torch, so that a plan can be read without it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, model_validator

from moebench.tasks import Features, Image, Inputs, Tokens, Vectors

Activation = Literal["gelu", "relu", "silu"]
Numbers = Annotated[tuple[StrictInt, ...], Field(strict=False)]
"""A list, in TOML and JSON."""

STAGES = 4
"""So many has timm's ResNet."""


class HostSettings(BaseModel):
    """Fields that every host has. ``activation`` and ``bias`` are those of the expert layers.

    reads: the kind of input that it takes. causal: whether no output may depend on later tokens, so that only causal
    layers have a place in it.
    """

    reads: ClassVar[type[Inputs]] = Image
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

    reads: ClassVar[type[Inputs]] = Features

    name: Literal["token_sum"] = "token_sum"
    activation: Activation = "relu"
    bias: bool = False
    tokens: int = Field(ge=1)
    residual: bool = False


class BareSettings(HostSettings):
    """One layer and nothing else, on vectors as its tokens: to measure what a layer costs."""

    reads: ClassVar[type[Inputs]] = Vectors

    name: Literal["bare"] = "bare"


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
    replace: Numbers | None = None
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


class ResNetSettings(HostSettings):
    """timm's ResNet of basic blocks, for small images.

    A stem of three convolutions halves height and width, and each stage but the first halves them again.

    channels, blocks: of each stage. replace: the replaced blocks, counted from 0 through all stages (default all that
    keep their input's shape). residual: whether the block's last norm, shortcut and activation stay around the layer,
    which then stands in the place of its convolutions; without them the layer is the whole block.
    """

    name: Literal["resnet"] = "resnet"
    activation: Activation = "relu"
    channels: Numbers = (16, 32, 64)
    blocks: Numbers = (1, 1, 2)
    replace: Numbers | None = None
    residual: bool = True

    @model_validator(mode="after")
    def _blocks_exist(self) -> ResNetSettings:
        if len(self.channels) != len(self.blocks) or not 1 <= len(self.blocks) <= STAGES:
            raise ValueError(
                f"channels {list(self.channels)} and blocks {list(self.blocks)} must each name the same 1 to {STAGES} "
                "stages"
            )
        if min(self.blocks) < 1 or min(self.channels) < 2 or self.channels[0] % 2:
            raise ValueError(
                f"channels {list(self.channels)} must be at least 2, the first even, and blocks {list(self.blocks)} at "
                "least 1"
            )
        able = [index for index in range(sum(self.blocks)) if self.keeps_shape(index)]
        blocks = able if self.replace is None else sorted(self.replace)
        if not blocks or len(set(blocks)) != len(blocks) or not set(blocks) <= set(able):
            raise ValueError(f"replace {blocks} must name different blocks that keep their input's shape, from {able}")
        # Spelled out, so that "all" and the list of all are one host with one identity.
        object.__setattr__(self, "replace", tuple(blocks))
        return self

    @property
    def replaced(self) -> tuple[int, ...]:
        """The blocks that hold an expert layer, in order."""
        assert self.replace is not None  # spelled out when it was validated
        return self.replace

    def place(self, index: int) -> tuple[int, int]:
        """(stage, block within it) of a block."""
        for stage, blocks in enumerate(self.blocks):
            if index < blocks:
                return stage, index
            index -= blocks
        raise IndexError(f"no block {index}")

    def keeps_shape(self, index: int) -> bool:
        """Whether a block gives a map of its input's channels, height and width."""
        stage, within = self.place(index)
        return stage == 0 or within > 0

    def channels_of(self, index: int) -> int:
        """D: the channels of a block."""
        return self.channels[self.place(index)[0]]

    def grid(self, index: int, image: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of a block's map: halved, upwards, by the stem and by every stage after the first."""
        half = 2 ** (1 + self.place(index)[0])
        return -(-image[0] // half), -(-image[1] // half)
