"""Token ids of a corpus on disk, made once and memory-mapped from then on.

L tokens of a part   V tokens of the vocabulary
"""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import shutil
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, pairwise
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, get_args

from moebench.errors import DataError, SuiteError
from moebench.tasks.base import Part
from moebench.tasks.corpora import FEW, SHARES, Corpus, part_of
from moebench.tasks.places import cache_dir

if TYPE_CHECKING:
    from numpy.typing import NDArray

VERSION = "1"
"""Raised when the same documents and parts have other digits; it is in the digest."""

KEPT = "2"
"""Raised when what is kept of them is to be made again; the digest stays."""

BYTES = "bytes"
BPE = "bpe-"
BETWEEN = b"\n"
"""After each document."""

CODER = "tokenizer.json"
"""Of an index of BPE, beside its parts."""

CHUNK = 1 << 20
"""Bytes that are encoded at a time."""

LINE = 1 << 16
"""More bytes of a line, at most, that are encoded with a chunk, so that it ends behind a line."""

CONTINUATION = bytes(range(0x80, 0xC0))
"""Bytes that no character of UTF-8 begins with; it has three of them at most."""


@dataclass(frozen=True)
class Index:
    """A corpus as token ids. digest: of its documents, their parts and the tokenizer. bytes_V: of each token."""

    folder: Path
    digest: str
    documents: dict[str, int]
    bytes_V: tuple[int, ...]
    width: int
    domains: dict[str, list[list[int]]]

    def tokens(self, part: Part) -> NDArray[Any]:
        """ids_L, read from disk as they are needed; uint8, int16 or int32."""
        import numpy as np

        dtype = {1: np.uint8, 2: np.int16, 4: np.int32}[self.width]
        path = self.folder / f"{part}.bin"
        return np.memmap(path, dtype, mode="c") if path.stat().st_size else np.zeros(0, dtype)


def vocabulary(tokenizer: str) -> int:
    """V; :class:`SuiteError` for a tokenizer that there is not."""
    size = tokenizer.removeprefix(BPE)
    if tokenizer == BYTES:
        return 256
    if tokenizer == size or not size.isdecimal() or not 256 < int(size) <= 1 << 20:
        raise SuiteError(
            f"a tokenizer is 'bytes' or 'bpe-N' with a vocabulary N above 256, such as 'bpe-1024'; not '{tokenizer}'.",
            code="unknown-tokenizer",
        )
    return int(size)


def index(corpora: Sequence[Corpus], tokenizer: str, data_dir: Path | None) -> Index:
    """The index of corpora, from the user's cache where files of this fingerprint were read before."""
    prints = [corpus.fingerprint(data_dir) for corpus in corpora]
    return _index(tuple(corpora), tuple(prints), tokenizer, data_dir)


@lru_cache(maxsize=4)
def _index(corpora: tuple[Corpus, ...], prints: tuple[str, ...], tokenizer: str, data_dir: Path | None) -> Index:
    key = hashlib.sha256(json.dumps([prints, tokenizer, VERSION, KEPT]).encode()).hexdigest()[:20]
    folder = cache_dir() / "text" / key
    if (found := _read(folder)) is not None:
        return found
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".new-"))
    except OSError:  # a cache that cannot be written is done without
        scratch = folder = Path(tempfile.mkdtemp(prefix="moebench-text-"))
    try:
        _write(scratch, corpora, tokenizer, data_dir)
        if scratch != folder:
            shutil.rmtree(folder, ignore_errors=True)
            os.rename(scratch, folder)
    except OSError as error:
        if (found := _read(folder)) is not None:  # another process was faster
            return found
        raise DataError(f"the text cannot be kept in '{folder}' ({error.strerror}).", code="no-cache") from error
    finally:
        if scratch != folder:
            shutil.rmtree(scratch, ignore_errors=True)
    made = _read(folder)
    assert made is not None
    return made


def _read(folder: Path) -> Index | None:
    try:
        meta = json.loads((folder / "index.json").read_bytes())
        return Index(folder, **{**meta, "bytes_V": tuple(meta["bytes_V"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _write(folder: Path, corpora: Sequence[Corpus], tokenizer: str, data_dir: Path | None) -> None:
    """Two passes: which bytes belong to which part; then their tokens, in place of the bytes."""
    digest = hashlib.sha256(f"{VERSION} {SHARES}".encode())
    documents = dict.fromkeys(get_args(Part), 0)
    ends: list[tuple[str, dict[str, int]]] = []
    with _Parts(folder) as parts:
        for corpus in corpora:
            few = sum(1 for _ in islice(corpus.documents(data_dir), FEW)) < FEW
            for name, blocks in corpus.documents(data_dir):
                digest.update(f"\0{corpus.domain}\0{name}\0".encode())
                if few:
                    parts.cut(blocks, digest)
                    documents = {part: count + 1 for part, count in documents.items()}
                else:
                    part = part_of(name)
                    parts.add(part, blocks, digest)
                    documents[part] += 1
            ends.append((corpus.domain, parts.sizes()))
    if not parts.read:
        raise DataError(f"{corpora[0].title} is empty.", code="empty-corpus")
    domains = {part: [[0, *(end[part] for _, end in ends)]] for part in get_args(Part)}
    bounds = {part: of[0] for part, of in domains.items()}
    bytes_V, width = [1] * 256, 1
    if tokenizer != BYTES:
        coder = _trained(folder / "train.bin", vocabulary(tokenizer), corpora[0].title)
        digest.update(coder.to_str().encode())
        bytes_V, width = _lengths(coder), 2 if coder.get_vocab_size() <= 1 << 15 else 4
        bounds = {part: _encode(folder / f"{part}.bin", coder, of, width) for part, of in bounds.items()}
        coder.save(str(folder / CODER))
    meta = {
        "digest": digest.hexdigest()[:20],
        "documents": documents,
        "bytes_V": bytes_V,
        "width": width,
        "domains": {part: [[bound[i], bound[i + 1]] for i in range(len(corpora))] for part, bound in bounds.items()},
    }
    (folder / "index.json").write_text(json.dumps(meta))


class _Parts:
    """The files of the parts, as they are written."""

    def __init__(self, folder: Path) -> None:
        self.read = 0
        self._files: dict[str, IO[bytes]] = {part: (folder / f"{part}.bin").open("wb") for part in get_args(Part)}

    def __enter__(self) -> _Parts:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.flush()
            file.close()

    def add(self, part: str, blocks: Iterator[bytes], digest: Any) -> None:
        for block in self._counted(blocks, digest):
            self._files[part].write(block)
        self._files[part].write(BETWEEN)

    def cut(self, blocks: Iterator[bytes], digest: Any) -> None:
        """The first 90 % of a document to train on, the next and the last 5 % for validation and test; cut between
        characters.
        """
        with tempfile.TemporaryFile() as whole:
            for block in self._counted(blocks, digest):
                whole.write(block)
            size = whole.tell()
            exact = [size * (SHARES - 2) // SHARES, size * (SHARES - 1) // SHARES]
            first, second = (_next_character(whole, place) for place in exact)
            if [first, second] != exact:  # the digest of other texts is the one that it has always been
                digest.update(f"\0{first} {second}\0".encode())
            whole.seek(0)
            for part, count in (("train", first), ("validation", second - first), ("test", size - second)):
                while count and (block := whole.read(min(CHUNK, count))):
                    self._files[part].write(block)
                    count -= len(block)
                self._files[part].write(BETWEEN)

    def sizes(self) -> dict[str, int]:
        return {part: file.tell() for part, file in self._files.items()}

    def _counted(self, blocks: Iterator[bytes], digest: Any) -> Iterator[bytes]:
        for block in blocks:
            self.read += len(block)
            digest.update(block)
            yield block


def _next_character(file: IO[bytes], place: int) -> int:
    """The first place from this one on at which a character begins, three bytes further at most; this one itself where
    that is no UTF-8.
    """
    file.seek(place)
    ahead = file.read(4)
    inside = len(ahead) - len(ahead.lstrip(CONTINUATION))
    return place + inside if inside < 4 else place


def _chunks(path: Path, start: int = 0, stop: int | None = None) -> Iterator[str]:
    """Text of a part in pieces that end behind a line, unless it is a long one; :class:`DataError` where it is not
    UTF-8.
    """
    left = (path.stat().st_size if stop is None else stop) - start
    decoder = codecs.getincrementaldecoder("utf-8")()  # keeps the begin of a character for the next piece
    with path.open("rb") as file:
        file.seek(start)
        while left > 0:
            piece = file.read(min(CHUNK, left))
            piece += file.readline(min(LINE, left - len(piece))) if left > len(piece) else b""
            left -= len(piece)
            try:
                yield decoder.decode(piece, final=left <= 0)
            except UnicodeDecodeError as error:
                raise DataError(
                    f"the text is not UTF-8 (byte {error.object[error.start]:#04x}), which a tokenizer needs; the "
                    "tokenizer 'bytes' takes anything.",
                    code="text-not-utf-8",
                ) from error


def _trained(path: Path, size: int, title: str) -> Any:
    """Byte-level BPE of the training part."""
    try:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    except ImportError:
        raise DataError(
            'a BPE tokenizer needs the package tokenizers: python -m pip install "moebench[text]".',
            code="package-missing",
        ) from None
    coder = Tokenizer(models.BPE())
    coder.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    coder.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    coder.train_from_iterator(_chunks(path), trainer)
    if coder.get_vocab_size() != size:
        raise DataError(
            f"{title} gives a vocabulary of {coder.get_vocab_size()} tokens at most, not {size}; ask for a smaller "
            "one, or bring more text.",
            code="vocabulary-too-large",
        )
    return coder


def coder_of(found: Index) -> Any:
    """The tokenizer of an index, which is no bytes: a ``tokenizers.Tokenizer``."""
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(found.folder / CODER))


def _lengths(coder: Any) -> list[int]:
    """Bytes of each token: one a character, in a byte-level alphabet."""
    return [len(coder.id_to_token(number)) for number in range(coder.get_vocab_size())]


def _encode(path: Path, coder: Any, bounds: list[int], width: int) -> list[int]:
    """Replace the bytes of a part by its tokens, domain after domain; the bounds in tokens."""
    ends, scratch = [0], path.with_suffix(".tokens")
    with scratch.open("wb") as out:
        for start, stop in pairwise(bounds):
            for text in _chunks(path, start, stop):
                array("h" if width == 2 else "i", coder.encode(text).ids).tofile(out)
            ends.append(out.tell() // width)
    os.replace(scratch, path)
    return ends
