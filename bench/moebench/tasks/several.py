"""Tasks with several targets, each yes or no or a number, and a score that is a mean over them.

N inputs   V targets, the views of a layer
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import log
from statistics import fmean
from typing import TYPE_CHECKING

from moebench.errors import UnknownNameError
from moebench.tasks.base import Headline, Split, Task, TaskInfo, Values

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

SCORE, BY_TARGET = "mean_score", {"binary": "auc", "real": "r2"}
ALL = "all"
"""Of the setting ``only``: every target."""


def plain_name(target: str) -> str:
    """A target's name without its category, which stands before a slash: ``delay/arrival`` is ``arrival``."""
    return target.rpartition("/")[2]


def score_of(target: str, kind: str) -> str:
    """The name of a target's own score: ``auc_arrival``, ``r2_air_time``."""
    return f"{BY_TARGET[kind]}_{plain_name(target)}"


class SeveralTargets(Task):
    """Each target is a float32 number for each input, (N,), answered by one output (N, 1); NaN where it is not known.

    kinds: target -> "binary" (0 or 1, the output is a logit, scored by AUC) or "real" (scored by R^2, in units of about
    its deviation). A target may have a category, ``delay/arrival``. The headline is the mean over targets of AUC and
    R^2. With the setting ``only`` the task has one of its targets alone: a single-target model to compare with.
    """

    loss_unit = "nats or squares"
    no_class = "an input has several targets, not one class"
    evaluation_batch = 4096
    kinds: dict[str, str]

    def _named(self, name: str, given: Mapping[str, int | str]) -> str:
        """The task's name with those of ``given`` that are not the defaults of :attr:`settings`."""
        other = sorted((key, value) for key, value in given.items() if value != self.settings[key])
        return "-".join([name, *(f"{key}-{value}" for key, value in other)])

    def _restricted(self, info: TaskInfo, only: str) -> TaskInfo:
        """``info`` with the target whose plain name is ``only``, or with all; :class:`UnknownNameError` for none."""
        if only == ALL:
            return info
        kept = {name: outputs for name, outputs in info.targets.items() if plain_name(name) == only}
        if not kept:
            raise UnknownNameError("target", only, [*map(plain_name, info.targets)], where=f"task '{info.name}'")
        headline = mean_score([self.kinds[name] for name in kept])
        return replace(info, targets=kept, headline=headline, label=f"{info.label}, {only} alone")

    @property
    def loss_score(self) -> Headline:
        """The loss; its floor is that of a constant answer."""
        floor = fmean(log(2) if self.kinds[name] == "binary" else 1.0 for name in self.info.targets)
        return Headline(name="loss", unit=self.loss_unit, higher_is_better=False, floor=floor)

    def loss(self, outputs: Values, batch: Split) -> Tensor:
        """The mean over targets and inputs of cross-entropy in nats or squared error, 0 where a target is not known; in
        float32.
        """
        return self._losses(outputs, batch).float().mean()

    def scores(self, outputs: Values, batch: Split) -> Values:
        """loss (N,): a mean over targets. mean_score (N, V, 2): each target's output and value, of which
        :meth:`summary` makes its AUC or R^2 and their mean.
        """
        import torch

        pairs = [
            torch.stack([outputs[name].double().squeeze(-1), batch.targets[name].double()], -1)
            for name in self.info.targets
        ]
        return {SCORE: torch.stack(pairs, 1), "loss": self._losses(outputs, batch).double().mean(1)}

    def summary(self, values: Values) -> dict[str, float]:
        """``mean_score``, ``loss``, and ``auc_<target>`` or ``r2_<target>`` of each."""
        pair_NV2 = values[SCORE].cpu().numpy()
        found = {}
        for place, name in enumerate(self.info.targets):
            score = auc if self.kinds[name] == "binary" else r_squared
            found[score_of(name, self.kinds[name])] = score(*pair_NV2[:, place].T)
        return {SCORE: fmean(found.values()), "loss": float(values["loss"].mean()), **found}

    def predictions(self, outputs: Values) -> Values:
        """``output_N_<target>`` of each, a logit where it is binary."""
        return {f"output_N_{plain_name(name)}": output.squeeze(-1) for name, output in outputs.items()}

    def _losses(self, outputs: Values, batch: Split) -> Tensor:
        """loss_NV."""
        import torch
        from torch.nn import functional as F

        found = []
        for name in self.info.targets:
            output_N, target_N = outputs[name].float().squeeze(-1), batch.targets[name]
            known_N = ~target_N.isnan()
            value_N = target_N.where(known_N, 0)
            if self.kinds[name] == "binary":
                loss_N = F.binary_cross_entropy_with_logits(output_N, value_N, reduction="none")
            else:
                loss_N = (output_N - value_N).square()
            found.append(loss_N * known_N)
        return torch.stack(found, 1)


def mean_score(kinds: Sequence[str]) -> Headline:
    """The mean over targets of AUC and R^2; its floor is that of a constant answer, 1/2 and 0."""
    floor = fmean(0.5 if kind == "binary" else 0.0 for kind in kinds)
    return Headline(name=SCORE, unit="share", higher_is_better=True, floor=floor, tie_break="loss")


def auc(output_N: NDArray[np.float64], target_N: NDArray[np.float64]) -> float:
    """The share of pairs of a 1 and a 0 in which the 1 has the larger output; of equal outputs half. NaN targets are
    left out; NaN where one of the two classes is missing, or an output is NaN.
    """
    import numpy as np
    from scipy.stats import rankdata

    known_N = ~np.isnan(target_N)
    output_N, one_N = output_N[known_N], target_N[known_N] == 1
    ones, zeros = int(one_N.sum()), int((~one_N).sum())
    if not ones or not zeros:
        return float("nan")
    return float((rankdata(output_N)[one_N].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def r_squared(output_N: NDArray[np.float64], target_N: NDArray[np.float64]) -> float:
    """1 less the squared error over that of the mean. NaN targets are left out; NaN where all others are equal."""
    import numpy as np

    known_N = ~np.isnan(target_N)
    output_N, target_N = output_N[known_N], target_N[known_N]
    spread = float(np.square(target_N - target_N.mean()).sum()) if len(target_N) else 0.0
    return 1 - float(np.square(output_N - target_N).sum()) / spread if spread else float("nan")
