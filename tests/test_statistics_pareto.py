"""pareto_front on points that can be drawn on paper."""

import pytest

from moebench.board.statistics import pareto_front

# (accuracy, milliseconds): the first is to be high and the second low.
POINTS = {"best": (0.98, 4.0), "fast": (0.90, 1.0), "between": (0.95, 2.0), "beaten": (0.94, 3.0)}


def test_the_front_leaves_out_what_another_beats():
    assert pareto_front(POINTS, [False, True]) == {"best", "fast", "between"}


def test_directions_are_not_mixed_up():
    # Smaller accuracy and smaller time: only `fast` has the least of both.
    assert pareto_front(POINTS, [True, True]) == {"fast"}
    assert pareto_front(POINTS, [False, False]) == {"best"}


def test_equal_points_stay_together():
    assert pareto_front({"a": (1, 1), "b": (1, 1), "c": (2, 1)}, [True, True]) == {"a", "b"}


def test_better_in_one_and_equal_in_the_rest_beats():
    assert pareto_front({"a": (1, 1, 1), "b": (1, 1, 2)}, [True, True, True]) == {"a"}


def test_the_front_of_nothing_is_empty():
    assert pareto_front({}, [True]) == set()


@pytest.mark.parametrize("point", [(1.0,), (1.0, float("nan")), (1.0, 2.0, 3.0)])
def test_a_point_without_all_measures_is_named(point):
    with pytest.raises(ValueError, match=r"'odd' is .* it must have 2 finite measures"):
        pareto_front({"odd": point}, [True, True])
