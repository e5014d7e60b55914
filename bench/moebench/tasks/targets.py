"""Tasks whose targets are classes, one for each input or a sequence of them, or numbers, one for each input.

N inputs   A answers of a sequence   O outputs: logits over classes
"""

from __future__ import annotations

from math import log
from statistics import fmean
from typing import TYPE_CHECKING

from moebench.tasks.base import Headline, Split, Task, Values

if TYPE_CHECKING:
    from torch import Tensor


def accuracy(floor: float) -> Headline:
    """The share of inputs whose answer is right; of equal ones, the lower cross-entropy is better."""
    return Headline(name="accuracy", unit="share", higher_is_better=True, floor=floor, tie_break="loss_nats")


class Classes(Task):
    """Every target is a class for each input, (N,). With several targets loss and scores are means over them."""

    loss_unit = "nats"
    no_class = "an input has several classes, not one"

    @property
    def loss_score(self) -> Headline:
        """Mean cross-entropy in nats; its floor is that of even chances, the mean over targets of ln(classes)."""
        floor = fmean(log(classes) for classes in self.info.targets.values())
        return Headline(name="loss_nats", unit="nats", higher_is_better=False, floor=floor)

    @property
    def class_target(self) -> str | None:
        """The only target; None where there are several."""
        return next(iter(self.info.targets)) if len(self.info.targets) == 1 else None

    def loss(self, outputs: Values, batch: Split) -> Tensor:
        """Mean cross-entropy in nats, over the places of a sequence too; in float32."""
        from torch.nn import functional as F

        pairs = ((outputs[name].float().flatten(0, -2), target.flatten()) for name, target in batch.targets.items())
        return _mean([F.cross_entropy(*pair) for pair in pairs])

    def scores(self, outputs: Values, batch: Split) -> Values:
        """accuracy: whether the answer is right, at every place of a sequence (N,). loss_nats: cross-entropy (N,), of a
        sequence for each place (N, A).
        """
        pairs = [(outputs[name], target) for name, target in batch.targets.items()]
        return {
            "accuracy": _mean([correct(*pair) for pair in pairs]),
            "loss_nats": _mean([cross_entropy(*pair) for pair in pairs]),
        }

    def summary(self, values: Values) -> dict[str, float]:
        """Means. The loss is added up as torch's own cross-entropy of all logits is, so that it is the same to the last
        digit.
        """
        import torch
        from torch.nn import functional as F

        nats_N1 = values["loss_nats"].flatten().unsqueeze(1)
        loss = F.nll_loss(-nats_N1, torch.zeros(len(nats_N1), dtype=torch.long, device=nats_N1.device))
        return super().summary(values) | {"loss_nats": float(loss)}

    def predictions(self, outputs: Values) -> Values:
        """``prediction_N``, of a sequence ``prediction_NA``; the target's name before it where there are several."""
        import torch

        found = {}
        for name, logits in outputs.items():
            kind = torch.int16 if logits.shape[-1] <= 2**15 else torch.int32
            prefix = f"{name}_" if len(outputs) > 1 else ""
            found[f"{prefix}prediction_N{'A' * (logits.ndim - 2)}"] = logits.argmax(-1).to(kind)
        return found


class Sequences(Classes):
    """Every target is a sequence of classes for each input, (N, A). Of a causal model the accuracy is the share of
    inputs that greedy decoding answers right.
    """

    no_class = "an input has a sequence of classes, not one"

    @property
    def class_target(self) -> None:
        """None: an input has a sequence of classes."""
        return None


class TokenClasses(Classes):
    """Every target is a class for each token of an input, (N, T); the accuracy is the share of tokens."""

    no_class = "an input has a class for each token, not one"

    @property
    def class_target(self) -> None:
        """None: each token has a class."""
        return None

    def scores(self, outputs: Values, batch: Split) -> Values:
        """accuracy (N,): the share of an input's tokens whose class is right. loss_nats: cross-entropy (N, T)."""
        pairs = [(outputs[name], target) for name, target in batch.targets.items()]
        right = [(logits.argmax(-1) == target).double().mean(-1) for logits, target in pairs]
        return {**super().scores(outputs, batch), "accuracy": _mean(right)}


def correct(logits: Tensor, target: Tensor) -> Tensor:
    """Zeros and ones (N,) in float64: whether the largest logit of (N, O) is the target's, of (N, A, O) everywhere."""
    return (logits.argmax(-1) == target).unsqueeze(-1).flatten(1).all(1).double()


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Nats in float64, in the target's shape: (N,) of logits (N, O), (N, A) of logits (N, A, O)."""
    from torch.nn import functional as F

    return F.cross_entropy(logits.double().flatten(0, -2), target.flatten(), reduction="none").view(target.shape)


def _mean(of_targets: list[Tensor]) -> Tensor:
    import torch

    return torch.stack(of_targets).mean(0)


def mean_squared_error(floor: float) -> Headline:
    """The mean of squares, in the square of the target's unit; ``floor`` is that of the best constant."""
    return Headline(name="mse", unit="squared", higher_is_better=False, floor=floor)


class Numbers(Task):
    """The one target is a float32 number for each input, (N,), and the one output (N, 1) answers it."""

    loss_unit = "squared"
    no_class = "an input has a number, not a class"

    def loss(self, outputs: Values, batch: Split) -> Tensor:
        """Mean squared error, in float32."""
        from torch.nn import functional as F

        predicted_N, target_N = self._pair(outputs, batch)
        return F.mse_loss(predicted_N, target_N)

    def scores(self, outputs: Values, batch: Split) -> Values:
        """mse: the squared error. constant_mse: the target itself, of which :meth:`summary` makes the error of the best
        constant.
        """
        predicted_N, target_N = self._pair(outputs, batch)
        return {"mse": (predicted_N - target_N).double().square(), "constant_mse": target_N.double()}

    def summary(self, values: Values) -> dict[str, float]:
        """Mean squared error, and that of the best constant, which is the targets' variance."""
        target_N = values["constant_mse"]
        apart_N = target_N.float() - target_N.mean()
        return super().summary({**values, "constant_mse": apart_N.double().square()})

    def _pair(self, outputs: Values, batch: Split) -> tuple[Tensor, Tensor]:
        """(predicted_N, target_N), in float32."""
        ((name, target_N),) = batch.targets.items()
        return outputs[name].float().squeeze(-1), target_N
