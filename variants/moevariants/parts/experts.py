"""Banks of experts: tokens are sent to them and come back; of two-layer MLPs, computed by a backend."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moebench.contract import LayerShape, Routing
from moevariants.parts.activations import LINEAR, Activation, activation
from moevariants.parts.backend import Backend, find_backend
from moevariants.parts.devices import in_product_type
from moevariants.parts.dispatch import combine_rows, plan_dispatch, take_rows
from moevariants.parts.expert_by_expert import Stacks, in_turns, pays
from moevariants.parts.huge_pages import batched


class Bank(nn.Module):
    """E experts that work on rows, all parameters stacked along their first axis."""

    count: int

    def forward_rows(self, rows_ND: Tensor, counts_E: Tensor, most: int | None = None) -> Tensor:
        """rows_NO of rows sorted by expert; ``counts_E``: how many each has; ``most``: the most that one can have.

        Rows beyond the sum of ``counts_E`` belong to no expert, and what comes back for them means nothing.
        """
        raise NotImplementedError

    def forward(
        self, x_BTD: Tensor, routing: Routing, keep_BE: Tensor | None = None, most: int | None = None
    ) -> Tensor:
        """y_BTO: send each choice that counts, of an expert that is kept, to its expert and add up what comes back.

        most: the most rows that one expert can have, where that is known. ValueError unless tokens choose.
        """
        chosen_BTK, weight_BTK, kept_BTK = choices(routing)
        if keep_BE is not None:
            acts_BTK = is_kept(keep_BE, chosen_BTK)
            kept_BTK = acts_BTK if kept_BTK is None else kept_BTK & acts_BTK
        kept_NK = None if kept_BTK is None else kept_BTK.flatten(0, 1)
        # A mask is there to save work, which is worth waiting for a GPU.
        cut = None if keep_BE is None else True
        dispatch = plan_dispatch(chosen_BTK.flatten(0, 1), self.count, kept_NK, cut=cut)
        rows_MD = take_rows(in_product_type(x_BTD.flatten(0, 1)), dispatch)
        rows_MO = self.forward_rows(rows_MD, dispatch.counts_E, most)
        return combine_rows(rows_MO, weight_BTK.flatten(0, 1), dispatch).view(*x_BTD.shape[:2], -1)

    def expert_parameters(self) -> dict[str, int]:
        """Parameter -> its expert axis: 0 of all."""
        return {name: 0 for name, _ in self.named_parameters()}

    def experts_held(self, name: str) -> range:
        """The experts along the axis of a parameter: all."""
        return range(self.count)


def by_expert(rows_ND: Tensor, counts_E: Tensor) -> list[tuple[int, Tensor]]:
    """(expert, its rows) of the experts that have some; rows of nobody go to the last.

    With no rows at all the first expert and none, so that the result has its shape and its place in the graph.
    """
    pairs = list(enumerate(torch.split(rows_ND, counts_of_all(rows_ND, counts_E))))
    return [(e, rows_nD) for e, rows_nD in pairs if len(rows_nD)] or pairs[:1]


def counts_of_all(rows_ND: Tensor, counts_E: Tensor) -> list[int]:
    """How many rows each expert has, with the rows of nobody among the last one's."""
    counts: list[int] = counts_E.tolist()
    counts[-1] += len(rows_ND) - sum(counts)
    return counts


def choices(routing: Routing) -> tuple[Tensor, Tensor, Tensor | None]:
    """chosen_BTK, weight_BTK and kept_BTK of a routing in which tokens choose; ValueError for any other."""
    if routing.chosen_BTK is None or routing.weight_BTK is None:
        raise ValueError("tokens have chosen no experts: this needs a Routing.sparse")
    return routing.chosen_BTK, routing.weight_BTK, routing.kept_BTK


def is_kept(keep_BE: Tensor, chosen_BTK: Tensor) -> Tensor:
    """Whether each choice is of an expert that acts."""
    return keep_BE.unsqueeze(1).expand(-1, chosen_BTK.shape[1], -1).gather(2, chosen_BTK)


class Experts(Bank):
    """E experts ``act(x W_in + b_in) W_out + b_out`` with the host's activation and its choice of bias.

    w_in_EDH, b_in_EH, w_out_EHO, b_out_EO: stacked parameters of logical size, the biases None where the host has none.
    Of a gated activation the H of the first two is 2 H: gate and up in turns.
    ``linear`` leaves out biases and activation: experts of rank H. The harness tells every submodule that has
    ``set_backend`` which backend computes; "auto" until then.
    """

    b_in_EH: nn.Parameter | None
    b_out_EO: nn.Parameter | None

    def __init__(self, count: int, shape: LayerShape, size: int, *, linear: bool = False) -> None:
        super().__init__()
        for name, value in {"experts": count, "dim": shape.dim, "hidden": size, "out_dim": shape.out_dim}.items():
            if value < 1:
                raise ValueError(f"a bank of experts needs {name} of at least 1, not {value}")
        self.count, self.linear, self.shape = count, linear, shape
        units = size if linear else shape.units(size)
        self.w_in_EDH = nn.Parameter(torch.empty(count, shape.dim, units))
        self.w_out_EHO = nn.Parameter(torch.empty(count, size, shape.out_dim))
        self.b_in_EH = nn.Parameter(torch.empty(count, units)) if shape.bias and not linear else None
        self.b_out_EO = nn.Parameter(torch.empty(count, shape.out_dim)) if shape.bias and not linear else None
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
    def activation_name(self) -> str:
        """What the host calls its activation, or "linear"."""
        return "linear" if self.linear else self.shape.activation

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
        """As the backend does it."""
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

    def on_every_token(self, x_BTD: Tensor) -> Tensor:
        """y_BTO of a bank of one expert."""
        return self.forward_slots(x_BTD.flatten(0, 1).unsqueeze(0)).view(*x_BTD.shape[:2], -1)

    @property
    def stacks(self) -> Stacks:
        """The parameters as they are."""
        return Stacks(self.w_in_EDH, self.b_in_EH, self.w_out_EHO, self.b_out_EO)

    def extra_repr(self) -> str:
        """The sizes, for ``print``."""
        count, hidden, out_dim = self.w_out_EHO.shape
        return f"{count} x ({self.shape.dim} -> {hidden} -> {out_dim}), {self.activation_name}"
