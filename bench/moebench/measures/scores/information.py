"""Scores of the routing only: pure functions of mass_NE (mass of each expert for each input)."""

from __future__ import annotations

import torch
from torch import Tensor

PERMUTATIONS = 20


def shares(mass_NE: Tensor) -> Tensor:
    """p(e | x): each input's mass, normalised; inputs without mass count as uniform."""
    total_N1 = mass_NE.double().sum(1, keepdim=True)
    uniform = torch.full_like(mass_NE, 1 / mass_NE.shape[1], dtype=torch.double)
    return torch.where(total_N1 > 0, mass_NE.double() / total_N1.clamp_min(1e-300), uniform)


def class_information(mass_NE: Tensor, target_N: Tensor) -> float:
    """I(class; expert) / H(class), less its mean over 20 fixed permutations of the labels.

    The permutations remove what finite samples give by chance: independent hard routing of 360 inputs to 64
    experts would score 0.36 without them.
    """
    p_NE = shares(mass_NE).cpu()
    target_N = target_N.cpu()
    generator = torch.Generator().manual_seed(0)
    by_chance = [
        normalised_information(p_NE, target_N[torch.randperm(len(target_N), generator=generator)])
        for _ in range(PERMUTATIONS)
    ]
    return normalised_information(p_NE, target_N) - sum(by_chance) / PERMUTATIONS


def normalised_information(p_NE: Tensor, target_N: Tensor) -> float:
    """I(class; expert) / H(class) with p(class, e) the mean over inputs of p(e | x) [class of x]."""
    classes = int(target_N.max()) + 1
    joint_CE = torch.zeros(classes, p_NE.shape[1], dtype=torch.double)
    joint_CE.index_add_(0, target_N, p_NE.double())
    joint_CE /= len(target_N)
    class_entropy = entropy(joint_CE.sum(1))
    if class_entropy == 0:
        return 0.0
    information = class_entropy + entropy(joint_CE.sum(0)) - entropy(joint_CE.flatten())
    return information / class_entropy


def expert_information(share_NTE: Tensor, label_NT: Tensor, *, within: bool = False) -> float:
    """I(expert; label) / H(expert) over single tokens, less its mean over 20 fixed permutations of the labels.

    share_NTE: p(e | token), 0 throughout for a token without an expert, which is left out. label_NT: of each token, or
    (N, 1) of whole inputs, which are then permuted as wholes: the tokens of an input are not independent. ``within``:
    permuted inside each input, for labels that all inputs share. 0 where there is but one expert or one label.
    """
    num_tokens, experts = share_NTE.shape[1:]
    share_ME, taken_M = share_NTE.double().flatten(0, 1), share_NTE.sum(2).flatten() > 0
    labels, label_NT = torch.unique(label_NT, return_inverse=True)
    generator = torch.Generator().manual_seed(0)

    def information(label_NT: Tensor) -> float:
        label_M = label_NT.expand(-1, num_tokens).flatten()
        joint_LE = torch.zeros(len(labels), experts, dtype=torch.double)
        joint_LE.index_add_(0, label_M[taken_M], share_ME[taken_M])
        joint_LE /= joint_LE.sum().clamp_min(1e-300)
        of_experts = entropy(joint_LE.sum(0))
        shared = entropy(joint_LE.sum(1)) + of_experts - entropy(joint_LE)
        return shared / of_experts if of_experts > 1e-12 else 0.0

    def permuted() -> Tensor:
        if within:
            return label_NT.gather(1, torch.rand(label_NT.shape, generator=generator).argsort(1))
        return label_NT.flatten()[torch.randperm(label_NT.numel(), generator=generator)].view_as(label_NT)

    return information(label_NT) - sum(information(permuted()) for _ in range(PERMUTATIONS)) / PERMUTATIONS


def entropy(p: Tensor) -> float:
    """Entropy in nats of probabilities (any shape)."""
    return float(-torch.special.xlogy(p, p).sum())


def load_entropy(mass_NE: Tensor) -> float:
    """Entropy of the mean share of mass, over log E: 1 is perfectly balanced, 0 is one expert for all."""
    p_E = shares(mass_NE).mean(0)
    return entropy(p_E) / float(torch.log(torch.tensor(float(len(p_E))))) if len(p_E) > 1 else 1.0


def dead_share(mass_NE: Tensor) -> float:
    """Share of experts whose mean share of mass is below 0.1 / E."""
    p_E = shares(mass_NE).mean(0)
    return float((p_E < 0.1 / len(p_E)).double().mean())


def max_violation(mass_NE: Tensor) -> float:
    """Largest total mass of an expert over the mean, less 1: 0 is perfectly balanced. The same of counts."""
    total_E = mass_NE.double().sum(0)
    mean = float(total_E.mean())
    return float(total_E.max()) / mean - 1 if mean > 0 else 0.0
