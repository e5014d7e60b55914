"""Subset inference with the experts that nobody keeps on forbidden pages: run by test_variants_subset.

Tries every way through and prints how many there were; then forbids an expert that is kept too, in a child process for
each layer, and prints the signal that ended it.
"""

import ctypes
import itertools
import mmap
import os

import torch

from moebench.contract import Context, LayerShape
from moevariants.random_router import RandomRouter
from moevariants.soft_moe import SoftMoE
from moevariants.sparse_topk import SparseTopK

EXPERTS, TOKENS = 8, 5
SIZES = ((64, 64), (64, 1024), (1024, 1024), (1024, 5), (1024, 1027))
"""Width and hidden width: small, with a bias of whole pages, big enough for blocks, odd, and big and odd."""


def forbid(layer, forbidden):
    """Move the experts' stacks to memory of their own and take away the pages of some; how many stacks could be."""
    libc, stacks = ctypes.CDLL(None, use_errno=True), 0
    for name in layer.expert_parameters():
        parameter = layer.get_parameter(name)
        each = parameter[0].numel() * parameter.element_size()
        if each % mmap.PAGESIZE:
            continue
        memory = mmap.mmap(-1, each * EXPERTS)
        stack = torch.frombuffer(memory, dtype=parameter.dtype).view(parameter.shape)
        parameter.data = stack.copy_(parameter.data)
        for expert in forbidden:
            place = ctypes.c_void_p(stack.data_ptr() + expert * each)
            if libc.mprotect(place, ctypes.c_size_t(each), 0):
                raise OSError(ctypes.get_errno(), "mprotect")
        stacks += 1
    return stacks


def run(variant, size, low, backend, *, hit=False):
    dim, hidden = size
    torch.manual_seed(0)
    shape = LayerShape(dim=dim, out_dim=dim, tokens=TOKENS)
    layer = variant().layer(shape, hidden, {"experts": EXPERTS}).eval()
    layer.experts.set_backend(backend)
    x_BTD = torch.randn(3, TOKENS, dim)
    keep_BE = torch.zeros(3, EXPERTS, dtype=torch.bool)
    keep_BE[0, :6], keep_BE[1, 2] = True, True
    busiest = int((layer.route(x_BTD, Context()).mass_BE[0] * keep_BE[0]).argmax())
    if forbid(layer, [6, 7, *([busiest] if hit else [])]) < 2:
        raise SystemExit(f"{size}: no stack of whole pages, so that nothing would be shown")
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=low):
        y_BTO = layer.compute(x_BTD, layer.route(x_BTD, Context()), keep_BE)
    if not bool(y_BTO.isfinite().all()):
        raise SystemExit("not finite")


def main():
    torch.set_num_threads(1)
    ways = list(itertools.product((SoftMoE, SparseTopK), SIZES, (False, True), ("auto", "loop", "grouped")))
    for way in ways:
        run(*way)
    run(RandomRouter, SIZES[1], False, "auto")
    print(len(ways), *(signal_of(variant) for variant in (SoftMoE, SparseTopK)))


def signal_of(variant):
    child = os.fork()
    if not child:
        run(variant, SIZES[1], False, "auto", hit=True)
        os._exit(0)
    return os.WTERMSIG(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    main()
