"""Triton's kernels compile for GPUs that are not there: few registers, no stack, wide loads; tests/slow has all."""

import pytest

pytest.importorskip("triton")

from cubins import ARCHITECTURES, MOST_REGISTERS, cases, compiled

# The other activations are no harder.
KINDS = (None, "gelu", "swiglu")
BOARD = [case for case in cases("bf16", widths=(2048,), top_k=(8,)) if case.constants.get("KIND") in KINDS]


@pytest.fixture(autouse=True)
def nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("case", BOARD, ids=str)
def test_a_kernel_keeps_to_its_registers_and_moves_16_bytes_at_once(case, architecture, tmp_path):
    cubin = compiled(case, architecture, tmp_path)
    assert 0 < cubin.registers <= MOST_REGISTERS
    assert (cubin.stack, cubin.local) == (0, 0)
    assert 128 in cubin.loads
    assert 128 in cubin.stores
