"""Weights in a module of their own, which a broken layer names."""

from torch import nn

HEAD = nn.Linear(16, 16)
