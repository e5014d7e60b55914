"""Tasks whose targets are numbers, one for each input."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moebench.tasks.base import Headline, Split, Task, Values

if TYPE_CHECKING:
    from torch import Tensor


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
