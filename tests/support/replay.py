"""What captures a step and replays it as CUDA's graphs do, on the CPU: the operations below autograd, on the tensors
that they had when they were captured.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

WAITS = ("aten::_local_scalar_dense", "aten::item", "aten::nonzero", "aten::is_nonzero")
"""Operations that wait for the device."""


class ReplayBackend:
    """A ``moebench.training.graphs.Backend``. captured: how often it was asked to capture."""

    def __init__(self):
        self.captured = 0

    def warm(self):
        """Nothing is seen to wait, so that a capture fails."""
        return nullcontext([])

    def capture(self, body):
        """A value that is read raises. What the body wrote is put back: a capture executes nothing."""
        self.captured += 1
        random, recorded = torch.get_rng_state(), _Recorded()
        try:
            with recorded:
                noted = body()
        except RuntimeError:
            recorded.forget()
            raise
        finally:
            torch.set_rng_state(random)
            recorded.put_back()
        return recorded.replay, noted


class _Recorded(TorchDispatchMode):
    """The operations inside, in their order; and what the tensors from outside held before they were written."""

    def __init__(self):
        super().__init__()
        self.calls, self.made, self.before = [], set(), {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func._schema.name in WAITS:
            raise RuntimeError(f"{func._schema.name} waits for the device")
        for argument, value in zip(func._schema.arguments, args, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write:
                for tensor in tree_leaves(value):
                    self._keep(tensor)
        out = func(*args, **kwargs)
        aliases = any(result.alias_info is not None for result in func._schema.returns)
        results = [] if aliases else [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        self.made |= {tensor.untyped_storage().data_ptr() for tensor in results}
        self.calls.append((func, args, kwargs, results))
        return out

    def _keep(self, tensor):
        place = tensor.untyped_storage().data_ptr() if isinstance(tensor, Tensor) else 0
        if place and place not in self.made and place not in self.before:
            self.before[place] = (tensor, tensor.detach().clone())

    @torch.no_grad()
    def put_back(self):
        for tensor, held in self.before.values():
            tensor.copy_(held)

    def forget(self):
        """After a capture that failed nothing was computed: NaN shows who uses it."""
        for *_, results in self.calls:
            for tensor in results:
                if tensor.is_floating_point():
                    tensor.detach().fill_(torch.nan)

    @torch.no_grad()
    def replay(self):
        for func, args, kwargs, results in self.calls:
            again = [leaf for leaf in tree_leaves(func(*args, **kwargs)) if isinstance(leaf, Tensor)]
            for old, new in zip(results, again, strict=False):
                old.copy_(new)
