"""Memorisation against reasoning: what each claim of arXiv 2410.19034 comes to."""

from moebench.studies.study import Study
from moestudies.parrots.claims import CLAIMS
from moestudies.parrots.figures import PLOTS
from moestudies.parrots.rows import PATHS, RECALL, SIZES, WIDTHS, book

_BY_EXPERTS = ("dense", "top-2")
_BY_WIDTH = ("top-2", *(f"width {width}" for width in sorted(WIDTHS)[1:]))
_EXPERTS, _WIDTH = "one width, equal active parameters", "equal totals of the whole model, beside all of D = 16"

SIZED = (
    (RECALL, tuple(book(row, SIZES[0]) for row in _BY_EXPERTS), f"Phone book: {_EXPERTS}"),
    (RECALL, tuple(book(row, SIZES[0]) for row in _BY_WIDTH), f"Phone book: {_WIDTH}"),
    (PATHS, _BY_EXPERTS, f"Shortest path: {_EXPERTS}"),
    (PATHS, _BY_WIDTH, f"Shortest path: {_WIDTH}"),
)

REPORT = Study(
    name="parrots",
    source="arXiv 2410.19034 (Mixture of Parrots: Experts improve memorization more than reasoning)",
    question="The paper says that experts buy memory and not reasoning: what a mixture knows by heart grows with its "
    "total parameters, so with the number of experts, while what it works out of its input follows the width of the "
    "model. Two axes separate the two. At equal active parameters the width stays and the number of experts, and with "
    "it the total, grows. At equal totals of the whole model the width grows and the number of experts falls. One task "
    "is a phone book to be known by heart, closed when it is asked for; the other is the shortest path in a graph that "
    "no training ever showed. Does recall grow along the first axis and not the second, and path finding along the "
    "second and not the first?",
    claims=CLAIMS,
    plots=PLOTS,
    sized=SIZED,
)
