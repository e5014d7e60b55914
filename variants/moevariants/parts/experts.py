"""A bank of two-layer MLPs, computed by a backend that can be exchanged."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moebench.contract import LayerShape
from moevariants.backends import Backend, find_backend
from moevariants.parts.activations import LINEAR, Activation, activation
from moevariants.parts.products import batched
from moevariants.parts.turns import Stacks, in_turns, pays


class Experts(nn.Module):
    """E experts ``act(x W_in + b_in) W_out + b_out`` with the host's activation and its choice of bias.

    w_in_EDH, b_in_EH, w_out_EHO, b_out_EO: stacked parameters of logical size, the biases None where the host has none.
    ``linear`` leaves out biases and activation: experts of rank H. The harness tells every submodule that has
    ``set_backend`` which backend computes; "auto" until then.
    """

    b_in_EH: nn.Parameter | None
    b_out_EO: nn.Parameter | None

    def __init__(
        self, num_experts: int, dim: int, hidden: int, out_dim: int, shape: LayerShape, *, linear: bool = False
    ) -> None:
        super().__init__()
        for name, value in {"experts": num_experts, "dim": dim, "hidden": hidden, "out_dim": out_dim}.items():
            if value < 1:
                raise ValueError(f"a bank of experts needs {name} of at least 1, not {value}")
        self.num_experts, self.linear, self.shape = num_experts, linear, shape
        self.w_in_EDH = nn.Parameter(torch.empty(num_experts, dim, hidden))
        self.w_out_EHO = nn.Parameter(torch.empty(num_experts, hidden, out_dim))
        self.b_in_EH = nn.Parameter(torch.empty(num_experts, hidden)) if shape.bias and not linear else None
        self.b_out_EO = nn.Parameter(torch.empty(num_experts, out_dim)) if shape.bias and not linear else None
        self.backend: str | Backend = "auto"
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw each expert as ``nn.Linear`` draws: uniform within 1/sqrt(fan in), the default generator."""
        for weight, bias in ((self.w_in_EDH, self.b_in_EH), (self.w_out_EHO, self.b_out_EO)):
            bound = weight.shape[1] ** -0.5
            nn.init.uniform_(weight, -bound, bound)
            if bias is not None:
                nn.init.uniform_(bias, -bound, bound)

    @property
    def activation(self) -> Activation:
        """The host's, or none."""
        return LINEAR if self.linear else activation(self.shape.activation)

    def activate(self, hidden: Tensor) -> Tensor:
        """The host's activation, or nothing."""
        return self.activation.apply(hidden)

    def set_backend(self, backend: str | Backend | None) -> None:
        """Compute rows with a callable ``run(experts, rows_ND sorted by expert, counts_E, most) -> rows_NO``.

        Or with the one of that name in the group ``moebench.backends``; None is "auto", the bank's own
        choice.
        """
        if isinstance(backend, str):
            find_backend(backend)  # An unknown name is reported here, not in the first step.
        self.backend = "auto" if backend is None else backend

    def forward_rows(self, rows_ND: Tensor, counts_E: Tensor, most: int | None = None) -> Tensor:
        """rows_NO of rows sorted by expert; ``counts_E`` says how many belong to each, ``most`` how many can.

        Rows beyond the sum of ``counts_E`` belong to no expert, and what comes back for them means nothing.
        """
        run = find_backend(self.backend) if isinstance(self.backend, str) else self.backend
        return run(self, rows_ND, counts_E, most)

    def forward_slots(self, slots_END: Tensor) -> Tensor:
        """slots_ENO of equally many rows for every expert, no backend needed: two batched products, or turns."""
        (num_experts, num_slots, _), stacks = slots_END.shape, self.stacks
        if pays(slots_END, stacks, num_slots):
            rows_NO = in_turns(slots_END.flatten(0, 1), [num_slots] * num_experts, stacks, self.activation)
            return rows_NO.view(num_experts, num_slots, -1)
        hidden_ENH = self.activate(batched(slots_END, stacks.w_in_EDH, stacks.b_in_EH))
        return batched(hidden_ENH, stacks.w_out_EHO, stacks.b_out_EO)

    @property
    def stacks(self) -> Stacks:
        """The parameters as they are."""
        return Stacks(self.w_in_EDH, self.b_in_EH, self.w_out_EHO, self.b_out_EO)

    def axes(self, prefix: str) -> dict[str, int]:
        """Parameter name, as seen from a layer that holds this bank as ``prefix`` -> its expert axis, 0."""
        return {f"{prefix}.{name}": 0 for name, _ in self.named_parameters()}

    def held(self, name: str) -> range:
        """The experts along the axis of a parameter: all."""
        return range(self.num_experts)

    def extra_repr(self) -> str:
        """The sizes, for ``print``."""
        num_experts, dim, hidden = self.w_in_EDH.shape
        between = "linear" if self.linear else self.shape.activation
        return f"{num_experts} x ({dim} -> {hidden} -> {self.w_out_EHO.shape[2]}), {between}"
