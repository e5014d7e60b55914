"""Freed memory that is kept need not be mapped again."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, torch
from moebench.heap import keep_freed_memory
if sys.argv[1] == "kept" and not keep_freed_memory():
    sys.exit("this C library is not glibc")
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
few = []
for index in range(12):
    before = faults()
    blocks = [torch.ones(mib << 18) for mib in (4, 20, 8, 28, 12)]
    few.append(faults() - before)
    held = torch.ones(3)
    while blocks:
        blocks.pop(0)
print(sum(few))
"""


def faults_of_twelve_steps(how):
    done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, timeout=120)
    if "not glibc" in done.stderr:
        pytest.skip("this C library is not glibc")
    return int(done.stdout)


def test_kept_memory_is_not_mapped_again():
    # 72 MiB are 18,432 pages, once; by itself the C library maps them several times before it has learnt.
    assert faults_of_twelve_steps("kept") < 0.75 * faults_of_twelve_steps("given back")
