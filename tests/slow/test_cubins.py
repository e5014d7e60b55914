"""All of Triton's kernels compile for all GPUs, in under two minutes of processor time."""

import os

import pytest

pytest.importorskip("triton")

from cubins import ARCHITECTURES, MOST_REGISTERS, cases, compiled

MOST_SECONDS = 120


def seconds():
    """Of this process and of those that it waited for, ptxas among them."""
    return sum(os.times()[:4])


def test_every_kernel_compiles_for_every_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    started, count, wrong = seconds(), 0, []
    for architecture in ARCHITECTURES:
        for case in (*cases("bf16"), *cases("fp32", widths=(2048,), top_k=(8,))):
            cubin = compiled(case, architecture, tmp_path)
            count += 1
            moves_wide = 128 in cubin.loads and (128 in cubin.stores or not case.writes_rows)
            if cubin.registers > MOST_REGISTERS or cubin.stack or cubin.local or not moves_wide:
                wrong.append((architecture, str(case), cubin))
    assert not wrong, "\n".join(map(str, wrong))
    assert seconds() - started < MOST_SECONDS
    print(f"{count} kernels in {seconds() - started:.0f} s")
