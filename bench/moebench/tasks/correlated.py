"""Two numbers from one vector, related as closely as one wants (Ma et al., MMoE, KDD 2018, section 3.2).

N inputs   F features
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from math import pi, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from moebench.errors import SuiteError
from moebench.tasks.base import Part, Split, Stream, Table, TaskInfo, digest_of
from moebench.tasks.several import ALL, SeveralTargets, mean_score

if TYPE_CHECKING:
    from torch import Generator, Tensor

FEATURES, WAVES = 64, 6
NOISE = 0.1
"""Standard deviation of a target's noise before it is scaled: the paper's variance of 0.01."""

HELD_OUT = 10_000
SEEDS = {"validation": 1, "test": 2}
TARGETS = ("first", "second")


class CorrelatedTask(SeveralTargets):
    """x ~ N(0, I_64); y_i = w_i x + sum over j of sin(alpha_j w_i x + beta_j) + noise, |w_i| = 1, cos(w_1, w_2) = p.

    correlation: p in percent, from 0 to 100, a setting. alpha_j = j + 1 and beta_j = j pi / 4 for j = 0 to 5, the same
    for both targets. Targets have mean 0 and deviation 1. A fresh batch every step, held-out sets fixed.
    """

    def __init__(self, correlation: int = 100, only: str = ALL) -> None:
        if not 0 <= correlation <= 100:
            raise SuiteError(
                f"task 'correlated': the setting 'correlation' is a percentage from 0 to 100, not {correlation}.",
                code="wrong-correlation",
                setting="correlation",
            )
        self.correlation, self.only = correlation, only
        self.settings: Mapping[str, int | str] = {"correlation": 100, "only": ALL}
        given: dict[str, int | str] = {"correlation": correlation, "only": only}
        self.kinds = dict.fromkeys(TARGETS, "real")
        info = TaskInfo(
            name=self._named("correlated", given),
            inputs=Table((), FEATURES),
            targets=dict.fromkeys(TARGETS, 1),
            headline=mean_score(["real"]),
            label=f"two numbers of correlation {correlation / 100:g}",
        )
        self.info = self._restricted(info, only)
        self.split = f"fresh batches; {HELD_OUT} held out, seeds 1 and 2"

    def configured(self, settings: Mapping[str, int | str]) -> CorrelatedTask:
        """With another correlation, or one target alone."""
        given = {"correlation": self.correlation, "only": self.only, **settings}
        return CorrelatedTask(int(given["correlation"]), str(given["only"]))

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
        """So many vectors x_NF and their targets (N,). What is drawn for one target does not depend on ``only``."""
        import torch

        x_NF = torch.randn(count, FEATURES, generator=generator)
        noise_N2 = NOISE * torch.randn(count, 2, generator=generator)
        mean, deviation = _moments()
        y_N2 = (_waves(x_NF @ weights(self.correlation / 100).T) + noise_N2 - mean) / deviation
        return Split(x_NF, {name: y_N2[:, TARGETS.index(name)].contiguous() for name in self.info.targets})

    def digest(self, data_dir: Path | None = None) -> str:
        """Twenty hexadecimal digits of what the data are drawn by."""
        return digest_of(f"correlated {FEATURES} {WAVES} {NOISE} {self.correlation} {self.only} {self.split}")


def weights(correlation: float) -> Tensor:
    """w_2F: unit vectors of this cosine; the first is the same for all."""
    import torch

    random_F2 = torch.randn(FEATURES, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    first_F, other_F = torch.linalg.qr(random_F2).Q.unbind(1)
    second_F = correlation * first_F + sqrt(1 - correlation**2) * other_F
    return torch.stack([first_F, second_F]).float()


def _waves(z: Tensor) -> Tensor:
    """Z + sum over j of sin((j + 1) z + j pi / 4)."""
    import torch

    return z + sum((torch.sin((j + 1) * z + j * pi / 4) for j in range(WAVES)), torch.zeros(()))


@cache
def _moments() -> tuple[float, float]:
    """Mean and deviation of a target, by quadrature over z ~ N(0, 1); the same for both."""
    import torch

    z = torch.linspace(-8, 8, 16_001, dtype=torch.float64)
    density = torch.exp(-z.square() / 2) / sqrt(2 * pi) * (z[1] - z[0])
    y = _waves(z)
    mean = float((density * y).sum())
    return mean, sqrt(float((density * (y - mean).square()).sum()) + NOISE**2)


CORRELATED = CorrelatedTask()
