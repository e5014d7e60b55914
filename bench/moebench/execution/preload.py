"""Imported once by the fork server, so that a run starts in milliseconds. Must not touch CUDA or start threads."""

import os
from importlib import import_module

# torch asks the driver through NVML instead of initialising CUDA, which would not survive the fork.
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")

# What a run imports sooner or later; torch brings some of it only at the first optimiser step or FLOP count.
for name in (
    "torch",
    "torch._dynamo",
    "torch.utils.flop_counter",
    "timm.models.vision_transformer",
    "sklearn.datasets",
    "sklearn.model_selection",
    "safetensors.torch",
    "moebench.execution.run_cell",
    "moebench.execution.latency_worker",
    "moebench.hosts.vit",
    "moebench.hosts.resnet",
    "moebench.hosts.single_layer",
):
    import_module(name)

assert not import_module("torch").cuda.is_initialized()
