"""The example of docs/statistics.md, run: the page cannot show numbers that the code does not give."""

import doctest
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "statistics.md"


def test_the_pages_example_shows_true_numbers():
    result = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert result.attempted >= 9
    assert result.failed == 0
