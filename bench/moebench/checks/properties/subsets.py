"""What a layer offers for choosing a subset of its experts: weights by expert, norms, combination rules."""

from __future__ import annotations

import torch
from torch import Tensor

from moebench.checks.compare import same
from moebench.checks.masking import experts_to_mask, keep
from moebench.checks.outcome import NotApplicable
from moebench.checks.subject import BuiltLayer, CheckSubject
from moebench.contract import Context, Layer, Routing
from moebench.hosts.host import restrict, rules_of
from moebench.measures.subset.scores import contribution_norms, dispatch_weights, masked_norms

SLACK = 1e-4


def check_combine_weights(subject: CheckSubject) -> None:
    """The combine weights are one finite number per token and expert, and none is negative."""
    for built in subject.trials():
        _by_token(subject, built, built.layer.route(subject.inputs(), Context()).combine_BTE, "combine")


def check_dispatch_weights_are_shares(subject: CheckSubject) -> None:
    """The dispatch weights, where given, are one number per token and expert from 0 to 1, and take in some token."""
    for built in subject.trials():
        routing = built.layer.route(subject.inputs(), Context())
        dispatch_BTE = _by_token(subject, built, dispatch_weights(built.layer, routing), "dispatch")
        if float(dispatch_BTE.max()) > 1 + SLACK:
            raise built.failed(
                f"gives the dispatch weight {float(dispatch_BTE.max()):.4g}; a token's share in what an expert "
                "works on is at most 1"
            )


def _by_token(subject: CheckSubject, built: BuiltLayer, weight_BTE: Tensor | None, what: str) -> Tensor:
    """The weights, of the right shape, finite and not negative; not applicable where there are none."""
    if weight_BTE is None:
        raise NotApplicable(f"it gives no {what} weights.")
    want = (*subject.inputs().shape[:2], built.layer.num_experts)
    if tuple(weight_BTE.shape) != want:
        raise built.failed(
            f"gives {what} weights of shape {tuple(weight_BTE.shape)}; (inputs, tokens, experts) is {want}"
        )
    weight_BTE = weight_BTE.detach()
    if not bool(torch.isfinite(weight_BTE).all()) or float(weight_BTE.min()) < 0:
        raise built.failed(f"gives the {what} weight {float(weight_BTE.min()):.4g} to an expert")
    return weight_BTE


def check_contribution_norms_are_of_masks(subject: CheckSubject) -> None:
    """What it reports that an expert adds, in norms over tokens, is what masking all others leaves of that expert."""
    for built in subject.trials():
        layer, x_BTD = built.layer, subject.inputs()
        experts = experts_to_mask(subject, layer, separable=True)
        routing = layer.route(x_BTD, Context())
        got_BE, want_BE = contribution_norms(layer, x_BTD, routing), masked_norms(layer, x_BTD, routing)
        if got_BE is None or got_BE.shape != want_BE.shape:
            given = "None" if got_BE is None else f"shape {tuple(got_BE.shape)}"
            raise built.failed(
                f"gives {given} for the norms of contributions; (inputs, experts) is {(len(x_BTD), experts)}"
            )
        if not same(got_BE, want_BE, SLACK):
            b, e = divmod(int((got_BE - want_BE).abs().argmax()), experts)
            raise built.failed(
                f"reports that expert {e} adds {got_BE[b, e].item():.5g} to input {b}, in norms over tokens; with all "
                f"others masked it adds {want_BE[b, e].item():.5g}"
            )


def check_rules_are_as_claimed(subject: CheckSubject) -> None:
    """Each of its rules works and keeps to the subset, input by input."""
    for built in subject.trials():
        layer, x_BTD = built.layer, subject.inputs()
        if not rules_of(layer):
            raise NotApplicable("it has no combination rules.")
        for rule in rules_of(layer):
            _expect_subset(built, x_BTD, rule)
            keep_BE = keep(len(x_BTD), layer.num_experts)
            _, together = _restricted(layer, x_BTD, keep_BE, rule)
            for b in range(len(x_BTD)):
                _, alone = _restricted(layer, x_BTD[b : b + 1], keep_BE[b : b + 1], rule)
                mixed = f"mixes up a batch under {rule!r}: input {b} differs from itself alone"
                built.expect_same(together[b : b + 1], alone, mixed)


def _restricted(layer: Layer, x_BTD: Tensor, keep_BE: Tensor, rule: str) -> tuple[Routing, Tensor]:
    """The routing under the rule, and what the layer gives with it."""
    with torch.no_grad():
        routing = restrict(layer, x_BTD, layer.route(x_BTD, Context()), keep_BE, rule)
        return routing, layer.compute(x_BTD, routing, keep_BE)


def _expect_subset(built: BuiltLayer, x_BTD: Tensor, rule: str) -> None:
    """No mass outside, nothing that is not finite even with nobody kept, and the full layer's routing untouched."""
    layer = built.layer
    keep_BE = keep(len(x_BTD), layer.num_experts)
    keep_BE[0] = False
    with torch.no_grad():
        routing = layer.route(x_BTD, Context())
        want = layer.compute(x_BTD, routing)
        restricted = restrict(layer, x_BTD, routing, keep_BE, rule)
        got, after = layer.compute(x_BTD, restricted, keep_BE), layer.compute(x_BTD, routing)
        nobody = layer.compute(x_BTD, routing, torch.zeros_like(keep_BE))
    changes = f"changes the routing it is handed in restrict() by {rule!r}: afterwards the whole layer differs"
    built.expect_same(after, want, changes)
    outside = 0.0 if restricted.mass_BE is None else float((restricted.mass_BE * ~keep_BE).abs().max())
    if outside > 0:
        raise built.failed(f"leaves the mass {outside:.4g} outside the subset under {rule!r}")
    if not bool(torch.isfinite(got).all()):
        raise built.failed(f"gives numbers that are not finite under {rule!r}; a token with nothing left stays 0")
    built.expect_same(got[:1], nobody[:1], f"with no expert kept differs under {rule!r} from the same without a rule")


def check_renormalise_shares_out_one(subject: CheckSubject) -> None:
    """Under "renormalise" a token's weights in the subset sum to 1, in their old proportions, or all stay 0."""
    for built in subject.trials():
        layer, x_BTD = built.layer, subject.inputs()
        if "renormalise" not in rules_of(layer):
            raise NotApplicable("it does not have the rule 'renormalise'.")
        keep_BE = keep(len(x_BTD), layer.num_experts)
        before_BTE = layer.route(x_BTD, Context()).combine_BTE
        after_BTE = _restricted(layer, x_BTD, keep_BE, "renormalise")[0].combine_BTE
        if before_BTE is None or after_BTE is None:
            raise NotApplicable("it gives no combine weights.")
        left_BTE = before_BTE.detach() * keep_BE.unsqueeze(1)
        total_BT1 = left_BTE.sum(2, keepdim=True)
        want_BTE = left_BTE / total_BT1.where(total_BT1 > 0, 1.0)
        wrong = (
            "does not share out 1 under 'renormalise': from those over their sum in the subset combine weights differ"
        )
        built.expect_same(after_BTE, want_BTE, wrong, SLACK)


def check_mask_logits_of_all_is_no_rule(subject: CheckSubject) -> None:
    """Under "mask_logits" with every expert kept the layer is itself, and with one kept it is that one alone."""
    for built in subject.trials():
        layer, x_BTD = built.layer, subject.inputs()
        if "mask_logits" not in rules_of(layer):
            raise NotApplicable("it does not have the rule 'mask_logits'.")
        everyone = keep(len(x_BTD), layer.num_experts, all_but=[])
        _, got = _restricted(layer, x_BTD, everyone, "mask_logits")
        built.expect_same(got, layer(x_BTD), "under 'mask_logits' differs with every expert kept from no rule,")
        alone = keep(len(x_BTD), layer.num_experts, [0])
        full, only = layer.route(x_BTD, Context()), _restricted(layer, x_BTD, alone, "mask_logits")[0]
        if full.mass_BE is None or only.mass_BE is None:
            raise NotApplicable("its routing gives no mass.")
        if bool((only.mass_BE[:, 0] < full.mass_BE[:, 0] * (1 - SLACK)).any()):
            raise built.failed("gives expert 0 less mass under 'mask_logits' when it is alone than among all")
