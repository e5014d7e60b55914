"""Freed memory that is kept need not be mapped again."""

import subprocess
import sys

import pytest

FAULTS = """
import ctypes, resource, sys
from moebench.processes import keep_freed_memory
if sys.argv[1] == "kept" and not keep_freed_memory():
    sys.exit("this C library is not glibc")
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.memset.restype = ctypes.c_void_p
libc.malloc.argtypes, libc.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
for step in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(30 << 20)
    libc.memset(block, 1, 30 << 20)
    libc.free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults_of_a_second_step(how):
    done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, timeout=120)
    if "not glibc" in done.stderr:
        pytest.skip("this C library is not glibc")
    return int(done.stdout)


def test_kept_memory_is_not_mapped_again():
    assert faults_of_a_second_step("kept") < 100
    # By itself the C library gives such a block back: 30 MiB are 7,680 pages, or this test could not fail.
    assert faults_of_a_second_step("given back") > 5_000
