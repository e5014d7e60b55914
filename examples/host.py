"""A host: patches, one mix over tokens, one expert layer, mean, head. Settings, places and network are one file.

moebench run examples/everything.toml
"""

import torch
from torch import nn
from torch.nn import functional as F

from moebench.hosts import Host, HostSettings, LayerPlace, Site, image_of


class Mixer(HostSettings):
    """Patches, a mix over tokens, one expert layer."""

    dim: int = 32
    patch: int = 2

    def places(self, task):
        image = image_of(task, self.patch, "patch")  # refuses a patch that does not divide the images
        return [LayerPlace(self.dim, (image.height // self.patch) * (image.width // self.patch))]

    def build(self, task):
        return MixerNetwork(self, task)


class MixerNetwork(Host):
    def __init__(self, settings, task):
        super().__init__(task.targets)
        (place,), self.patch = settings.places(task), settings.patch
        self.embed = nn.Linear(task.inputs.channels * self.patch**2, settings.dim)
        self.where_TD = nn.Parameter(torch.randn(place.tokens, settings.dim))  # so that it knows where a patch is
        self.mix = nn.Linear(place.tokens, place.tokens)
        self.norm = nn.LayerNorm(settings.dim)
        self.site = nn.Identity()  # vacant until the layer comes
        self.head = nn.Linear(settings.dim, task.outputs)

    def attach(self, layers):
        (layer,) = layers
        self.site = Site(layer)

    def head_outputs(self, x_BCHW):
        x_BTD = self.embed(F.unfold(x_BCHW, self.patch, stride=self.patch).mT) + self.where_TD
        x_BTD = x_BTD + self.mix(x_BTD.mT).mT
        x_BTD = x_BTD + self.site(self.norm(x_BTD))
        return self.head(x_BTD.mean(1))
