"""Imported once by the fork server, so that a run starts in milliseconds. Must not touch CUDA or start threads."""

import os

# torch asks the driver through NVML instead of initialising CUDA, which would not survive the fork.
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")

import torch

import moebench.execution.train_cell  # noqa: F401 # imported for what it brings into the fork server

assert not torch.cuda.is_initialized()  # type: ignore[no-untyped-call] # torch has no annotation here
