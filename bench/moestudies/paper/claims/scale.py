"""The paper's claims about its larger models, judged at that scale: series ``paper-gpu``."""

from __future__ import annotations

from functools import partial

from moebench.studies.claim import Bound, Claim
from moestudies.paper.claims.subsets import FEW, LEAST, MANY, gain, grows, retains

IMAGES, CIFAR100 = "paper-gpu-images", "paper-gpu-cifar100"
RESIDUAL, PLAIN = "residual", "no residual"
"""Rows. The paper removed the residual around the layers of Astroformer, which it trained on CIFAR."""

SIX = "in each of the last six blocks of a ViT-S"

_images = partial(Claim, part=IMAGES)
_retains = partial(retains, part=IMAGES, row=RESIDUAL)

SCALE = (
    Claim(
        key="scale-cifar100-selected",
        part=CIFAR100,
        statement="On CIFAR-100 the subset that Algorithm 1 selects beats a random one.",
        paper="Figure for k = E/4 of the two MoE layers of Astroformer-1.",
        here=f"Accuracy with k = E/4 {SIX} on CIFAR-100, without the residual around them, selected less random.",
        rule=f"Holds when for every E >= {LEAST} the interval lies above 0.",
        judge=gain("random", 4, Bound(0), part=CIFAR100, row=PLAIN),
    ),
    _images(
        key="scale-selected",
        statement="On ImageNet the subset that Algorithm 1 selects beats a random one.",
        paper="Figure for k = E/4 of the last six blocks of a ViT-B/16.",
        here=f"Accuracy with k = E/4 {SIX}, selected less random.",
        rule=f"Holds when for every E >= {LEAST} the interval lies above 0.",
        judge=gain("random", 4, Bound(0), part=IMAGES, row=RESIDUAL),
    ),
    _images(
        key="scale-grows",
        statement="On ImageNet what the selected subset retains grows with the number of experts.",
        paper="k = E/8: more is retained at E = 128 than at E = 8.",
        here=f"Share of the accuracy retained with k = E/8 {SIX}, E = 128 less E = {LEAST}.",
        rule="Holds when the interval lies above 0.",
        judge=grows(part=IMAGES, row=RESIDUAL),
    ),
    _images(
        key="scale-99-many",
        statement="On ImageNet 1/8 of many experts retain 99 % of the accuracy.",
        paper=f"E >= {MANY}.",
        here=f"Share of the accuracy retained with k = E/8 {SIX}.",
        rule=f"Holds when for every E >= {MANY} the interval lies above 0.99.",
        unit="share",
        judge=_retains(Bound(0.99), least=MANY),
    ),
    _images(
        key="scale-99-few",
        statement="On ImageNet 1/8 of few experts retain less.",
        paper=f"E = {FEW}.",
        here=f"Share of the accuracy retained with k = E/8 {SIX}.",
        rule=f"Holds when at E = {FEW} the interval lies below 0.99.",
        unit="share",
        judge=_retains(Bound(0.99, "below"), only=FEW),
    ),
)
"""Claims of parts ``paper-gpu-cifar100`` and ``paper-gpu-images``."""
