"""The report of the suite ``paper``: what each claim of arXiv 2409.00879 comes to, with figures and packs of records.

Everything is made from finished records, those of a results directory or of packs, and trains nothing.
"""

from moebench.paper.report import has_report, write_report

__all__ = ["has_report", "write_report"]
