"""Two result sets side by side: which rows became better or worse, as far as the seeds can tell."""

from moebench.board.compare.formats import TEXTS, print_table, to_json, to_markdown, to_table
from moebench.board.compare.verdicts import ORDER, Comparison, Pair, compare

__all__ = ["ORDER", "TEXTS", "Comparison", "Pair", "compare", "print_table", "to_json", "to_markdown", "to_table"]
