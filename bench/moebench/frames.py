"""Where an exception came from: the author's lines, apart from those of moebench, Python and the frameworks."""

from __future__ import annotations

import linecache
import os
import sysconfig
import traceback
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TypedDict

from moebench.errors import MoebenchError
from moebench.text import SAID, printable, shortened, told

HARNESS = ("moebench", "moestudies", "moevariants")
FRAMEWORKS = ("torch", "torchvision", "timm", "numpy", "scipy", "cloudpickle")

MOST = 40
"""Frames of an exception that are kept, the innermost ones."""

SHOWN = 6
"""Frames of the author's that a short traceback has: the first, and the innermost ones."""


class Frame(TypedDict):
    """A line that an exception passed through. name: of the class and function. own: whether the author wrote it."""

    file: str
    line: int
    name: str
    text: str
    own: bool


def frames_of(error: BaseException) -> tuple[Frame, ...]:
    """The lines that an exception passed through, the innermost last."""
    walked = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)][-MOST:]
    return tuple(
        Frame(
            file=code.co_filename,
            line=line,
            name=code.co_qualname.rpartition("<locals>.")[2],
            text=_text(code.co_filename, line),
            own=_is_authors(code.co_filename),
        )
        for code, line in walked
    )


def raised(
    error: BaseException, frames: Sequence[Frame] | None = None, length: int = SAID, *, whole: bool = False
) -> str:
    """``MineLayer.forward() raised ValueError: its first line at mine.py, line 12``; what it says alone, where no line
    of the author's is known. ``length`` and ``whole`` as of :func:`~moebench.text.told`.
    """
    own = [frame for frame in (frames_of(error) if frames is None else frames) if frame["own"]]
    said = told(error, length, whole=whole)
    if not own:
        return said
    who = "" if own[0]["name"].startswith("<") else f"{own[0]['name']}() raised "
    return f"{who}{said}{where(own)}"


def where(frames: Iterable[Frame]) -> str:
    """`` at mine.py, line 12``: the author's innermost line; empty where there is none."""
    own = [frame for frame in frames if frame["own"]]
    return f" at {os.path.basename(own[-1]['file'])}, line {own[-1]['line']}" if own else ""


def short_traceback(frames: Iterable[Frame], *, whole: bool = False) -> list[str]:
    """The author's lines as Python prints them, two lines a frame; whole: those of moebench and the frameworks, too."""
    kept = [frame for frame in frames if whole or frame["own"]]
    if not whole and len(kept) > SHOWN:
        kept = [kept[0], *kept[1 - SHOWN :]]
    lines = []
    for frame in kept:
        lines.append(printable(f'  File "{_from_here(frame["file"])}", line {frame["line"]}, in {frame["name"]}'))
        # A worker does not have the text of a notebook's cell; the process that prints does.
        if text := frame["text"] or _text(frame["file"], frame["line"]):
            lines.append(f"    {printable(text)}")
    return lines


def _in_notebook(error: MoebenchError) -> list[str]:
    """What IPython prints in place of a traceback: the sentence, and the author's lines that it came from."""
    return [f"moebench: {error}", *short_traceback(error.facts.get("frames", ()))]


# Here, because errors know nothing of frames.
MoebenchError._render_traceback_ = _in_notebook  # type: ignore[attr-defined]


def _text(file: str, line: int) -> str:
    return shortened(linecache.getline(file, line).strip(), SAID)


def _from_here(file: str) -> str:
    """Relative to the directory that this process stands in, where the file lies below it."""
    try:
        return str(Path(file).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return file


def _is_authors(file: str) -> bool:
    return not file.startswith(("<frozen", "<attrs", "<__array")) and not file.startswith(_others())


@cache
def _others() -> tuple[str, ...]:
    """Folders of Python's own library, of moebench and of the frameworks; they end with a separator."""
    library = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib")]
    inside = {"site-packages", "dist-packages"}
    standard = [
        os.path.join(folder, each) + (os.sep if os.path.isdir(os.path.join(folder, each)) else "")
        for folder in dict.fromkeys(library)
        for each in os.listdir(folder)
        if each not in inside
    ]
    return (*standard, *filter(None, map(_folder_of, (*HARNESS, *FRAMEWORKS))))


def _folder_of(package: str) -> str:
    """Of a package that is installed, without importing it; else empty."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return ""
    places = list(spec.submodule_search_locations or ()) if spec else []
    return places[0] + os.sep if places else ""
