"""Triton's kernels give the numbers and the gradients of torch's operations: by Triton's interpreter, on a CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

SCRIPT = Path(__file__).parent / "support" / "interpreted.py"


def test_every_case_agrees_with_torch():
    """In a process of its own: Triton reads its environment when it is imported."""
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, SCRIPT], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) > 50
    if any("only 0-dimensional arrays can be converted" in reason for reason in found.values()):
        pytest.skip("the interpreter of this Triton does not work with this NumPy")
    wrong = {name: reason for name, reason in found.items() if reason}
    assert not wrong, "\n".join(f"{name}: {reason}" for name, reason in wrong.items())
