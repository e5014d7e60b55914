"""A plain ``nn.Module`` where a variant is wanted: the one line that wraps it, which works."""

from __future__ import annotations

import pytest
from torch import nn

from moebench import check, run
from moebench.contract import LayerShape
from moebench.errors import PluginError
from moebench.plugins.find import find_variant
from moebench.plugins.load import load_variant
from moebench.plugins.modules import wrapping_line

FILE = """
from torch import nn


class MyLayer(nn.Module):
    def __init__(self, d_model, d_ff, num_experts, dropout=0.0):
        super().__init__()
        self.a, self.b = nn.Linear(d_model, d_ff), nn.Linear(d_ff, d_model)

    def forward(self, x):
        return self.b(self.a(x).relu())
"""


def test_a_module_in_a_file_is_answered_with_the_line_that_wraps_it(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    with pytest.raises(PluginError) as caught:
        load_variant(find_variant(f"{path}:MyLayer"))
    assert caught.value.code == "module-not-wrapped"
    line = caught.value.facts["line"]
    assert line == (
        'my_layer = wrap(lambda dim, hidden: MyLayer(d_model=dim, d_ff=hidden, num_experts=8), name="my_layer")'
    )
    assert f"('{path}:my_layer')" in str(caught.value)
    path.write_text(f"{FILE}\nfrom moebench import wrap\n{line}\n")
    variant = load_variant(find_variant(f"{path}:my_layer"))
    assert variant.name == "my_layer"
    variant.layer(LayerShape(dim=8, out_dim=8, tokens=4), 4, {})


class Other(nn.Module):
    def __init__(self, width, inner, /):
        super().__init__()


class Plain(nn.Module):
    pass


@pytest.mark.parametrize(
    ("module", "call"),
    [(Other, "Other(dim, hidden)"), (Plain, "Plain()"), (nn.Linear, "Linear(in_features=dim, out_features=hidden)")],
)
def test_other_names_of_arguments_are_guessed_in_their_order(module, call):
    assert f"lambda dim, hidden: {call}," in wrapping_line(module)


@pytest.mark.parametrize("given", [Plain, Plain()])
def test_so_is_one_that_is_given_in_python(given, tmp_path):
    (report,) = check(given)
    assert '`plain = wrap(lambda dim, hidden: Plain(), name="plain")`' in report.problem
    with pytest.raises(PluginError) as caught:
        run("quick", [given], results=tmp_path)
    assert caught.value.code == "module-not-wrapped"
