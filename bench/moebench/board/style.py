"""The style of all figures: sizes, colours that colour-blind readers can distinguish, and the files they become."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moebench.plans.rows import BASELINE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from moebench.board.model import Board

INK, SOFT, LINE, PAPER = "#1b1f24", "#59626c", "#d9dde1", "#fcfcfa"
PALE = "#a8c3e6"
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#1f5fb4", "#c76a00", "#00795a", "#c0392b", "#8e4b8a", "#6f7780"
TEAL, PINK, BROWN, OLIVE = "#0a7f8c", "#c2418a", "#7d5a3c", "#6b7a0f"
SEQUENCE = ("#c2a800", "#7aab2e", "#35a064", "#1e9089", "#257d8e", "#2f688e", "#3b528b", "#46307e", "#3a0452")
"""From few experts to many."""

DARK: Mapping[str, str] = {
    INK: "#e7eaee",
    SOFT: "#a2acb7",
    LINE: "#323a43",
    PAPER: "#14171b",
    BLUE: "#82b4ff",
    PALE: "#3b5a86",
    ORANGE: "#f0a24a",
    GREEN: "#4fc9a0",
    RED: "#ff8a7a",
    PURPLE: "#d79ad3",
    GREY: "#9aa3ad",
    TEAL: "#5cc8d4",
    PINK: "#f08cc0",
    BROWN: "#c9a27e",
    OLIVE: "#b9c94f",
    **dict(
        zip(
            SEQUENCE,
            ("#4b6f9e", "#3d86a0", "#2f9d9a", "#33b08a", "#52c173", "#86cf55", "#b9d84a", "#e0df5a", "#fff2a0"),
            strict=True,
        )
    ),
}
"""The same colours on a dark page."""

LINE_COLOURS = (BLUE, ORANGE, GREEN, RED, PURPLE, TEAL, PINK, BROWN, OLIVE)
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)))
MOST_PAINTED = len(LINE_COLOURS) * len(DASHES)
"""Rows beyond it are thin lines in the background, until somebody points at them."""

DPI = 160
WIDTH = 9.0
"""Inches: the page's column."""

RC: Any = {
    "figure.dpi": DPI,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "legend.title_fontsize": 8,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
    "svg.fonttype": "none",
    "svg.hashsalt": "moebench",
    "path.simplify": False,
}


@dataclass(frozen=True)
class Paint:
    """The line of a row. named: whether the legend has it."""

    colour: str
    dash: Any
    width: float
    named: bool

    @property
    def line(self) -> dict[str, Any]:
        """What matplotlib calls it."""
        return {"color": self.colour, "linestyle": self.dash, "linewidth": self.width}


def paints(count: int) -> list[Paint]:
    """The looks of so many rows in all drawings, in order: the ranked ones come first and so have the plainest."""
    return [
        Paint(LINE_COLOURS[i % len(LINE_COLOURS)], DASHES[i // len(LINE_COLOURS)], 1.6, True)
        if i < MOST_PAINTED
        else Paint(LINE, "-", 0.8, False)
        for i in range(count)
    ]


def looks_of(board: Board) -> dict[str, Paint]:
    """The looks of every row of a board by name, the same at every budget and whatever its rank: layers in colours by
    the order of their names, dense in that of text, reference rows in grey.
    """
    entries = {entry.variant: entry for rung in board.rungs for entry in rung.entries}
    layers = sorted(name for name, entry in entries.items() if not entry.reference and name != BASELINE)
    references = [name for name, entry in entries.items() if entry.reference]
    found = dict(zip(layers, paints(len(layers)), strict=True))
    for index, name in enumerate(sorted(references)):
        found[name] = Paint(GREY, DASHES[index % len(DASHES)], 1.1, index < MOST_PAINTED)
    return found | {BASELINE: Paint(INK, "-", 2.0, True)}


def end_labels(axis: Axes, ends: Sequence[tuple[float, str, str]], size: float = 8.0) -> None:
    """(value, name, colour) of lines, written beside the right end of the axis in the order of the values, apart."""
    figure = axis.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    bottom, top = axis.bbox.extents[1], axis.bbox.extents[3]
    step = size * 1.2 * figure.dpi / 72 / (top - bottom)
    at = [(float(axis.transData.transform((1.0, value))[1] - bottom) / (top - bottom), n, c) for value, n, c in ends]
    placed: list[float] = []
    for height, _, _ in sorted(at):
        placed.append(max(height, placed[-1] + step) if placed else height)
    over = placed[-1] - 1 if placed and placed[-1] > 1 else 0.0
    for (_, name, colour), height in zip(sorted(at), placed, strict=True):
        axis.annotate(
            name,
            (1.0, height - over),
            xycoords="axes fraction",
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=size,
            color=colour,
            annotation_clip=False,
        )


def can_draw() -> bool:
    """Whether there is matplotlib, which a machine that trains may lack; pages then have no drawings."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


@contextmanager
def styled() -> Iterator[None]:
    """Draw inside it; a user's own matplotlib settings are ignored."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC)
        yield


def panels(
    count: int, *, height: float = 3.2, width: float = WIDTH, columns: int | None = None, **share: Any
) -> tuple[Figure, list[Axes]]:
    """A figure and its axes, row by row, ``columns`` a row."""
    from matplotlib.figure import Figure

    across = min(columns or count, count)
    down = -(-count // across)
    figure = Figure(figsize=(width, height * down), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False, **share)
    axes = list(grid.flat)
    for unused in axes[count:]:
        unused.remove()
    return figure, axes[:count]


def shades(count: int) -> list[str]:
    """Colours of an ordered quantity, spread over the sequence."""
    if count <= 1:
        return [SEQUENCE[6]] * count
    last = len(SEQUENCE) - 1
    return [SEQUENCE[round(i * last / (count - 1))] for i in range(count)]


def log2_ticks(axis: Axes, values: Sequence[float], labels: Sequence[str]) -> None:
    """A binary logarithmic x axis with a tick at each of these."""
    axis.set_xscale("log", base=2)
    axis.set_xticks(list(values), labels=list(labels))
    axis.set_xticks([], minor=True)


def decades(axis: Any) -> None:
    """Powers of ten written as people read them, without a mathematics font."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(base=10, numticks=8))
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain_power(value)))
    axis.set_minor_formatter(NullFormatter())


def plain_log(axis: Any, write: Callable[[float], str] = "{:g}".format) -> None:
    """A logarithmic axis of less than a few decades: 1, 2, 5, 10 rather than powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))
    axis.set_minor_formatter(NullFormatter())


def plain_power(value: float) -> str:
    """``0.01``, ``100``, ``10,000``, ``1e-08``."""
    if value <= 0:
        return ""
    if 1e-3 <= value < 1:
        return f"{value:g}"
    return f"{value:,.0f}" if 1 <= value < 1e6 else f"{value:.0e}"


def settle(figure: Figure) -> None:
    """Work out the layout once, for every file that the figure becomes."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def png(figure: Figure) -> bytes:
    """On white paper; the same bytes for the same figure."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return content.getvalue()


def svg(figure: Figure) -> str:
    """A whole SVG file on no background; the same text for the same figure."""
    content = io.StringIO()
    figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in content.getvalue().splitlines()) + "\n"


def inline(text: str, name: str, label: str) -> str:
    """The SVG as part of a page: its own ids, colours that follow the page's theme, and words for who cannot see it."""
    from markupsafe import escape

    body = text[text.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'href="#', f'href="#{name}-', body)
    body = re.sub(r"url\(#", f"url(#{name}-", body)
    for colour in DARK:
        body = body.replace(colour, f"var({variable(colour)})")
    body = re.sub(r'<svg (.*?)width="[^"]*"(.*?)>', r"<svg \1\2>", body, count=1, flags=re.DOTALL)
    body = re.sub(r'(<svg [^>]*?)height="[^"]*"', r"\1", body, count=1)
    # What a page does not need: indents, and digits of coordinates beyond a hundredth of a point.
    body = re.sub(r"<[^>]+>", lambda tag: re.sub(r"(\.\d\d)\d{2,}", r"\1", tag[0]), re.sub(r"\n +", "\n", body))
    role = "group" if "<a " in body else "img"  # what lies in an image is not read, its links among it
    return body.replace("<svg ", f'<svg class="figure" role="{role}" aria-label="{escape(label)}" ', 1).rstrip()


def variable(colour: str) -> str:
    """The page's name of a colour."""
    return f"--c{colour[1:]}"


def theme() -> str:
    """The colours as the page's style sheet, for light and dark."""
    light = " ".join(f"{variable(colour)}: {colour};" for colour in DARK)
    dark = " ".join(f"{variable(colour)}: {other};" for colour, other in DARK.items())
    return f":root {{ {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
