"""Two result sets side by side: which rows became better or worse, as far as the seeds can tell."""

from moebench.comparison.compare import compare
from moebench.comparison.directories import compare_directories
from moebench.comparison.model import Comparison

__all__ = ["Comparison", "compare", "compare_directories"]
