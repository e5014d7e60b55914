"""What counts of a file: the code that its variant reaches, there and in the modules beside it."""

from __future__ import annotations

import pytest

from moebench.checks.run import run_one
from moebench.plugins.find import find_variant
from moebench.plugins.load import load_variant

FILE = """
import sklearn.datasets
from datasets import SCALE
from moebench import wrap
from moebench.tasks import get_task
from torch import nn

x, y = [], sklearn.datasets.__name__



class Block(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.a, self.b = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x):
        y = self.b(self.a(x).relu())
        return {gives}


class Task:
    def load(self):
        return get_task("digits")


mine = wrap(lambda dim, hidden: Block(dim, hidden), name="mine")

if __name__ == "__main__":
    print(mine, get_task("digits"))
"""


@pytest.mark.parametrize(
    ("gives", "message"),
    [
        ("y * SCALE", ""),
        ("y * SCALE + len(sklearn.datasets.__name__)", "sklearn.datasets.__name__ (layer.py, line "),
        ("y + len(Task().load())", "moebench.tasks.get_task (layer.py, line "),
        ("y + __import__('datasets').read()", "torchvision.datasets.MNIST (datasets.py, line 5)"),
    ],
)
def test_a_file_may_define_a_task_and_helpers_may_have_any_name(tmp_path, gives, message):
    (tmp_path / "layer.py").write_text(FILE.format(gives=gives))
    (tmp_path / "datasets.py").write_text(
        "SCALE = 1\n\n\ndef read():\n    from torchvision.datasets import MNIST\n    return MNIST\n"
    )
    variant = load_variant(find_variant(f"{tmp_path}/layer.py:mine"))
    row = run_one("reads_no_data", variant, {})
    assert row.outcome == ("fails" if message else "holds"), row.message
    assert message in row.message
