"""The layers that are timed, and how large they are."""

from __future__ import annotations

from typing import NamedTuple


class Size(NamedTuple):
    """inputs B of tokens T of width dim D; experts E of width hidden H; per_token: K of a sparse layer."""

    inputs: int
    tokens: int
    dim: int
    experts: int
    hidden: int
    per_token: int = 1

    @property
    def words(self) -> str:
        """For a heading."""
        return (
            f"{self.inputs * self.tokens:,} tokens, D {self.dim}, E {self.experts}, H {self.hidden}, K {self.per_token}"
        )


# The three at which limits are stated.
FEW = Size(inputs=8, tokens=196, dim=192, experts=16, hidden=384, per_token=2)
FINE = Size(inputs=8, tokens=196, dim=192, experts=64, hidden=96, per_token=8)
LARGE = Size(inputs=64, tokens=196, dim=384, experts=32, hidden=768, per_token=2)

# A few tokens at sizes that are no multiple of anything, where what is around the products counts; many small experts.
TINY = Size(inputs=1, tokens=195, dim=100, experts=12, hidden=96, per_token=2)
MANY = Size(inputs=8, tokens=256, dim=128, experts=64, hidden=64, per_token=8)

# Soft MoE, one slot an expert.
SOFT = Size(inputs=8, tokens=196, dim=192, experts=64, hidden=768)

# For a GPU, which smaller ones leave idle: fine experts, 8 and 6 of them a token, few large ones, and many small ones.
WIDE_8 = Size(inputs=128, tokens=512, dim=2048, experts=64, hidden=1408, per_token=8)
WIDE_6 = WIDE_8._replace(per_token=6)
BROAD = Size(inputs=128, tokens=512, dim=1024, experts=32, hidden=4096, per_token=2)
NARROW = Size(inputs=32, tokens=512, dim=512, experts=64, hidden=256, per_token=8)
ON_CUDA = {"wide-8": WIDE_8, "wide-6": WIDE_6, "broad": BROAD, "narrow": NARROW}
