"""Imported once by the fork server, so that a run starts in milliseconds. Must not touch CUDA or start threads."""

import atexit
import os
import warnings
from importlib import import_module

from moebench.machine import versions
from moebench.plugins.find import BACKENDS, HOSTS, VARIANTS
from moebench.processes import keep_orphans

# What a worker leaves behind becomes the server's child, which the command then ends; see ``processes.end``.
keep_orphans()
warnings.filterwarnings("ignore", message="forkserver: waitpid returned unexpected pid")

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
    "moebench.runner.worker",
    "moebench.runner.latency_worker",
    *(host.module for host in HOSTS.installed().values() if host.package == "moebench"),
):
    import_module(name)

# What is read from disk, and stays as it is for as long as nothing is installed.
BACKENDS.installed()
VARIANTS.installed()
versions()

# The server holds nothing that needs an end: taking down all that it has imported would keep the command waiting.
atexit.register(os._exit, 0)

assert not import_module("torch").cuda.is_initialized()
