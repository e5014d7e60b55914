"""A task that asks for routing: each token has a hidden cluster, and each cluster its own labels.

N inputs   T tokens   D width of a token   C clusters
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from moebench.tasks.base import Part, Split, Stream, TaskInfo, Vectors, digest_of
from moebench.tasks.targets import TokenClasses, accuracy

if TYPE_CHECKING:
    from torch import Generator, Tensor

CLUSTERS, LABELS, TOKENS, HALF = 16, 8, 16, 16
NOISE = 0.05
"""Deviation of a token's second half around the centre of its cluster."""

HELD_OUT = 1_000
SEEDS = {"validation": 1, "test": 2}


class ClustersTask(TokenClasses):
    """x = [u ~ N(0, I), centre_k + noise], each half of 16 entries; the label is argmax of W_k u over 8 classes.

    W_k and the directions of the centres are fixed. length: of a centre; 0 hides the cluster, so that no router can
    win: the negative control. A fresh batch every step, held-out sets fixed. The cluster of a token is its group.
    """

    def __init__(self, name: str, label: str, length: float) -> None:
        self.length = length
        self.info = TaskInfo(
            name=name,
            inputs=Vectors(TOKENS, 2 * HALF),
            targets={"label": LABELS},
            headline=accuracy(floor=1 / LABELS),
            label=label,
        )
        self.split = f"fresh batches; {HELD_OUT} held out, seeds 1 and 2"

    @overload
    def load(self, part: Literal["train"], data_dir: Path | None = None) -> Stream: ...
    @overload
    def load(self, part: Literal["validation", "test"], data_dir: Path | None = None) -> Split: ...
    def load(self, part: Part, data_dir: Path | None = None) -> Split | Stream:
        """``data_dir`` is not used."""
        import torch

        self.check_part(part)
        return Stream(self.draw) if part == "train" else self.draw(HELD_OUT, torch.Generator().manual_seed(SEEDS[part]))

    def draw(self, count: int, generator: Generator) -> Split:
        """So many inputs x_NTD, their labels (N, T) and groups (N, T)."""
        import torch

        centre_CD, map_CLD = _fixed()
        group_NT = torch.randint(CLUSTERS, (count, TOKENS), generator=generator)
        u_NTD, noise_NTD = torch.randn(2, count, TOKENS, HALF, generator=generator)
        place_NTD = self.length * centre_CD[group_NT] + NOISE * noise_NTD
        label_NT = torch.einsum("ntld,ntd->ntl", map_CLD[group_NT], u_NTD).argmax(-1)
        return Split(torch.cat([u_NTD, place_NTD], -1), {"label": label_NT}, group_NT)

    def digest(self, data_dir: Path | None = None) -> str:
        """Twenty hexadecimal digits of what the data are drawn by."""
        return digest_of(f"clusters {CLUSTERS} {LABELS} {TOKENS} {HALF} {NOISE} {self.length} {self.split}")


@cache
def _fixed() -> tuple[Tensor, Tensor]:
    """Unit directions of the centres (C, D), and the maps (C, L, D)."""
    import torch

    generator = torch.Generator().manual_seed(0)
    centre_CD = torch.randn(CLUSTERS, HALF, generator=generator)
    map_CLD = torch.randn(CLUSTERS, LABELS, HALF, generator=generator)
    return centre_CD / centre_CD.norm(dim=1, keepdim=True), map_CLD


CLUSTERS_NEAR = ClustersTask("clusters_near", "near clusters", 0.5)
CLUSTERS_FAR = ClustersTask("clusters_far", "far clusters", 1.0)
CLUSTERS_HIDDEN = ClustersTask("clusters_hidden", "hidden clusters", 0.0)
