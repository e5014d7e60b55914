"""Tensors without values, as on a GPU that is never asked for one: reading any of them raises.

They lie on torch's device "meta". It has no autocast, which is imitated here, so that what a GPU computes in bfloat16
is bfloat16 here, too.
"""

import contextlib

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

META = torch.device("meta")

IN_BF16 = {
    F.linear,
    F.conv2d,
    F.scaled_dot_product_attention,
    torch.matmul,
    torch.mm,
    torch.bmm,
    torch.addmm,
    torch.baddbmm,
    torch.einsum,
    torch.Tensor.matmul,
    torch.Tensor.__matmul__,
    torch.Tensor.mm,
    torch.Tensor.bmm,
}
"""What autocast computes in bfloat16 on CUDA, of what layers and hosts call."""


class Autocast(TorchFunctionMode):
    """``torch.autocast`` for tensors without values."""

    now = False
    """Whether one is on."""

    def __init__(self, device_type, dtype=None, enabled=True):
        super().__init__()
        self.enabled, self.before = enabled, []

    def __enter__(self):
        self.before.append(Autocast.now)
        Autocast.now = self.enabled
        return super().__enter__()

    def __exit__(self, *error):
        Autocast.now = self.before.pop()
        return super().__exit__(*error)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if self.enabled and func in IN_BF16:
            args, kwargs = tree_map(_lower, (args, kwargs or {}))
        if self.enabled or func not in IN_BF16:
            return func(*args, **(kwargs or {}))
        with torch._C.DisableTorchFunction():  # another one around this must not see it
            return func(*args, **(kwargs or {}))


def _lower(value):
    return value.bfloat16() if isinstance(value, torch.Tensor) and value.dtype == torch.float32 else value


@contextlib.contextmanager
def autocast_without_values(monkeypatch):
    """While it lasts, ``torch.autocast`` and what tells of it are those above."""
    with monkeypatch.context() as patch:
        patch.setattr(torch, "autocast", Autocast)
        patch.setattr(torch, "is_autocast_enabled", lambda device_type=None: Autocast.now)
        patch.setattr(torch, "get_autocast_dtype", lambda device_type: torch.bfloat16)
        yield
