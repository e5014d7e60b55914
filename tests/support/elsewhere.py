"""Tensors of the CPU that say that they are on another device, so that code takes the ways that it takes on a GPU."""

import torch
from torch.overrides import TorchFunctionMode

OTHER = torch.device("xpu", 0)
"""Any device that is neither the CPU nor CUDA: what is written for NVIDIA's alone stays out."""

_ASKED = torch.Tensor.device.__get__


class Elsewhere(TorchFunctionMode):
    """While it lasts, tensors are on another device; what is made there is made on the CPU."""

    def __init__(self, other=OTHER):
        super().__init__()
        self.other = other

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func == _ASKED:
            return self.other
        kwargs = kwargs or {}
        if kwargs.get("device") is not None:
            kwargs["device"] = "cpu"
        return func(*args, **kwargs)


def backward(loss):
    """``loss.backward()``, which would leave the mode outside."""
    engine = torch.autograd.Variable._execution_engine
    engine.run_backward(
        (loss,), (torch.ones_like(loss),), False, False, (), allow_unreachable=True, accumulate_grad=True
    )
