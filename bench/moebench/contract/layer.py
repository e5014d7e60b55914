"""A layer in two steps: ``route`` decides, ``compute`` works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from moebench.contract.routing import Routing


@dataclass(frozen=True, eq=False)
class Context:
    """What is known of a batch beside x_BTD.

    token_mask_BT: False at padding, which takes no part; None: there is none. token_ids_BT: the tokens of a text; None
    in a host of numbers, and where only costs are counted. group_ids_BT: the groups that a task hides; only for
    reference rows that say that they read them.
    """

    token_mask_BT: Tensor | None = None
    token_ids_BT: Tensor | None = None
    group_ids_BT: Tensor | None = None

    def kept(self, chosen_BTK: Tensor) -> Tensor | None:
        """kept_BTK: False for the choices of padding; None where there is none."""
        return None if self.token_mask_BT is None else self.token_mask_BT.unsqueeze(-1).expand_as(chosen_BTK)


class Layer(nn.Module):
    """An expert layer. ``forward(x) == compute(x, route(x, Context()))``.

    A mask has one meaning for all layers: routing, capacity, priority and weights are those of the full layer; the
    contribution of a masked expert is zero and its work is skipped, not multiplied by zero; the weights of the
    others do not change; shared and base parts always act.

    A layer may also define what only some have, and the harness looks for:

    ``restrict``: other rules of combination, see :class:`Restricts`.
    ``nominal_routing(x_BTD) -> Routing``: the routing whose FLOPs are quoted, of a balanced load; else ``route``'s.
    ``mean_experts_per_token() -> float``: how many act on a token where that is not ``top_k``.
    ``experts_held(name) -> range``: the experts along the axis of one of ``expert_parameters()``, where not all. An
    expert that none of them has holds no parameters, such as one that returns its input; active parameters are counted
    as if no token chose it.
    ``dispatch_weights(routing) -> dispatch_BTE``: where experts work on mixtures of tokens, the share of a token in
    that of an expert, the largest over its slots (D of arXiv 2308.00951, equation 1).
    ``router_logits(x_BTD) -> logits_BTE``, or one a slot: what the router gives before its softmax or sigmoid, and
    without noise; None where it has none.
    ``contribution_norms(x_BTD, routing) -> norm_BE``: the l2 norm of what an expert adds to a token, summed over
    tokens, where there is a shorter way than a masked pass an expert.
    ``expect_tokens(counts_V)``: called once before training on token ids, with how often each occurs in training data.
    ``view_parameters() -> Mapping[str, int]``: parameters that belong to single views, such as a target's gate: name as
    in ``named_parameters`` -> its view axis. No other view's output depends on them.
    ``gates_read_experts: bool``: experts stand in levels, and the gates of a later one read what an earlier one gave,
    so that the earlier one's experts work in ``route``.
    ``hidden_units(x_BTD, routing) -> Sequence[units_ENH]``: what the experts of each bank have after the activation.
    ``part_of(x_BTD, routing, inputs) -> Routing``: the routing of a slice of the inputs as it was decided among all,
    where its state holds other than tensors with a row an input.
    """

    top_k: int | None = None
    """K of a layer in which tokens choose; None where every expert acts on every token, or numbers differ by token."""

    number_settles: bool = False
    """Whether it is training that brings the number of experts per token to ``mean_experts_per_token()``: at first more
    may act. What a training costs is then counted from those that acted."""

    passes: float = 1.0
    """How often a token passes the active parameters: FLOPs stay within 1.1 times that."""

    _num_experts: int | None = None

    @property
    def num_experts(self) -> int:
        """E: what the layer sets, else ``count`` of its submodule ``experts``, else 0: no experts."""
        if self._num_experts is not None:
            return self._num_experts
        count: int = getattr(getattr(self, "experts", None), "count", 0)
        return count

    @num_experts.setter
    def num_experts(self, count: int) -> None:
        self._num_experts = count

    def route(self, x_BTD: Tensor, context: Context) -> Routing:
        """Decide for a batch, without expert work."""
        raise TypeError(f"{type(self).__name__} must define route(x_BTD, context)")

    def compute(self, x_BTD: Tensor, routing: Routing, keep_BE: Tensor | None = None) -> Tensor:
        """Work as decided; y_BTO, or y_BVTO of a layer that knows the views of its shape.

        ``keep_BE`` is True for the experts that act on an input; None means all.
        """
        raise TypeError(f"{type(self).__name__} must define compute(x_BTD, routing, keep_BE)")

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Route and compute."""
        return self.compute(x_BTD, self.route(x_BTD, Context()))

    def expert_parameters(self) -> Mapping[str, int]:
        """Parameters that belong to single experts: name as in ``named_parameters`` -> its expert axis.

        By default those that the submodule ``experts`` reports, if it has a method of this name.
        """
        reported = getattr(getattr(self, "experts", None), "expert_parameters", dict)
        return {f"experts.{name}": axis for name, axis in reported().items()}

    def after_step(self) -> None:
        """Called once after each optimiser step, in training only (bias balancing and the like)."""


class Restricts:
    """Beside :class:`Layer`: rules by which a subset of the experts is combined otherwise than "as is".

    Algorithm 1 of arXiv 2409.00879 leaves the weights of the kept experts as they are: what a mask in ``compute`` does,
    and no rule is needed for. Two rules have a meaning that ``moebench check`` knows:

    ``renormalise``: the weights of each token are divided by their sum over the subset; a token with nothing left stays
    0. ``mask_logits``: softmax and choice over the logits of the subset alone.
    """

    rules: tuple[str, ...] = ()
    """Those that :meth:`restrict` knows."""

    def restrict(self, x_BTD: Tensor, routing: Routing, keep_BE: Tensor, rule: str) -> Routing:
        """The routing of the subset ``keep_BE`` (no weight outside it) under one of ``rules``.

        ``routing`` is that of ``route`` for the same x_BTD, and is left as it is. The result goes to
        ``compute(x_BTD, restricted, keep_BE)``.
        """
        raise TypeError(f"{type(self).__name__} must define restrict(x_BTD, routing, keep_BE, rule)")
