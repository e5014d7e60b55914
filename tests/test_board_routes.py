"""The heat maps of text: which rows have one, what stands in it, and the order of its experts."""

from dataclasses import replace

import numpy as np

from boards import small_board
from moebench.board import routes
from moebench.board.estimates import routes as routes_of
from moebench.board.model import RouteTable

TABLE = RouteTable(labels=("code", "b\x07ible"), share=((0.1, 0.9, 0.0), (0.8, 0.1, 0.1)))


def with_routes(board, kind):
    """The board as if its second row had a table."""
    (rung,) = board.rungs
    first, second, *others = rung.entries
    changed = replace(second, tasks=(replace(second.tasks[0], routes={kind: TABLE}), *second.tasks[1:]))
    return replace(board, rungs=(replace(rung, entries=(first, changed, *others)),))


def test_a_row_with_a_table_has_a_panel_and_no_other(tmp_path):
    board = with_routes(small_board(tmp_path).board(), "group")
    figure = routes.domains(board, 0)
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["code", "b ible"]
    assert axis.get_title().startswith(board.rungs[0].entries[1].variant)
    assert routes.tokens(board, 0) is None


def test_experts_stand_in_the_order_of_the_row_that_each_serves_most():
    assert routes.in_order(np.array(TABLE.share)).tolist() == [[0.9, 0.1, 0.0], [0.1, 0.8, 0.1]]


def test_a_table_that_is_none_is_left_out(tmp_path):
    class Study:
        final_records = ()

    class Recorded:
        details = {"routes": {"token": {"labels": ["a", "b"], "last": [[1.0]]}, "group": {"labels": [], "last": []}}}

    assert routes_of(Study) == {}
    Study.final_records = (Recorded,)
    assert routes_of(Study) == {}
    Recorded.details = {"routes": {"token": {"labels": ["a"], "last": [[1.0, 0.0]]}}}
    assert routes_of(Study)["token"] == RouteTable(labels=("a",), share=((1.0, 0.0),))
