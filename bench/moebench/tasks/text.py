"""Language modelling: the next token of windows of text, or masked tokens; the headline is bits per byte.

N windows   T tokens of a window   V tokens of the vocabulary   L tokens of a part
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from moebench.errors import DataError, SuiteError
from moebench.tasks.base import Headline, Part, Split, Stream, Task, TaskInfo, Tokens, Values
from moebench.tasks.corpora import FEW, SHARES, Bible, Corpus, Own, PythonSource, Shakespeare
from moebench.tasks.tokens import BYTES, Index, coder_of, index, vocabulary

if TYPE_CHECKING:
    from torch import Generator, Tensor

SCORED = 1 << 18
"""Tokens of validation and of test that are scored by default, at most: windows at equal distances."""

PASS = 1 << 20
"""Logits of a pass without training: 64 windows of 64 bytes; what is between stays in the cache of a processor."""

MASKED = 0.15
"""Share of the tokens of a window that are hidden (Devlin et al., arXiv 1810.04805, section 3.1)."""

SEEDS = {"validation": 1, "test": 2}


class TextTask(Task):
    """The next token at every place of a window. Windows do not overlap, so that an epoch reads the text once.

    Settings: ``tokenizer``, bytes or bpe-N (byte-level BPE that is trained on the training part); ``window`` T;
    ``scored``, the most tokens of validation and of test that are scored. A window's first token has no context but
    itself; nothing is scored twice.
    """

    loss_unit = "nats"
    no_class = "a window has a token at each place, not a class"
    settings: Mapping[str, int | str] = {"tokenizer": BYTES, "window": 64, "scored": SCORED}
    masked = False

    def __init__(
        self,
        name: str,
        label: str,
        corpora: Sequence[Corpus],
        tokenizer: str = BYTES,
        window: int = 64,
        scored: int = SCORED,
    ) -> None:
        if not isinstance(window, int) or not 2 <= window <= 1 << 16:
            raise SuiteError(f"task '{name}': window must be a whole number from 2 on, not {window}.", code="window")
        if not isinstance(scored, int) or scored < window:
            raise SuiteError(
                f"task '{name}': scored must be a whole number of tokens, a window of {window} at least, not {scored}.",
                code="scored",
            )
        self.scored = scored
        self.base, self.corpora, self.tokenizer, self.window = name, tuple(corpora), tokenizer, window
        self.size, self.label = vocabulary(tokenizer), label
        plain = tokenizer == BYTES and window == self.settings["window"]
        named, said = ("", "") if scored == SCORED else (f"-{scored}", f", {scored:,} scored")
        what = "bits_per_masked_byte" if self.masked else "bits_per_byte"
        self.info = TaskInfo(
            name=(name if plain else f"{name}-{tokenizer}-{window}") + named,
            inputs=Tokens(length=window, vocabulary=self.size + self.masked, answer=window),
            targets={"token": self.size},
            headline=Headline(name=what, unit="bits", higher_is_better=False, floor=8.0),
            label=(label if plain else f"{label}, {tokenizer}, {window} tokens") + said,
        )
        self.split = (
            f"documents by a hash of their name, 1 of {SHARES} each for validation and test, fewer than {FEW} cut "
            f"inside at 90 and 95 %; {tokenizer}; windows of {window}, at most {scored} tokens scored, in random order"
            + (f"; {MASKED:g} of the tokens masked" if self.masked else "")
        )
        self.evaluation_batch = max(1, PASS // (window * self.size))
        # Of tokens in bytes, and where the text was found; known once it is read.
        self._lengths: Sequence[int] = (1,) * self.size
        self._where: Path | None = None

    @property
    def loss_score(self) -> Headline:
        """Nats of a token; its floor is that of even chances."""
        return Headline(name="loss_nats", unit="nats", higher_is_better=False, floor=math.log(self.size))

    def configured(self, settings: Mapping[str, int | str]) -> TextTask:
        """The same text in another form."""
        given = {"tokenizer": self.tokenizer, "window": self.window, "scored": self.scored, **settings}
        sizes = int(given["window"]), int(given["scored"])
        return type(self)(self.base, self.label, self.corpora, str(given["tokenizer"]), *sizes)

    @overload
    def load(self, part: Literal["train"], data_dir: Path | None = None) -> Split | Stream: ...
    @overload
    def load(self, part: Literal["validation", "test"], data_dir: Path | None = None) -> Split: ...
    def load(self, part: Part, data_dir: Path | None = None) -> Split | Stream:
        """Windows ids_NT of the memory-mapped tokens, and the token after each; held-out ones in a fixed random
        order.
        """
        self.check_part(part)
        split = self._windows(part, data_dir)
        return split if part == "train" else _held_out(split, self.scored // self.window, part)

    def _windows(self, part: Part, data_dir: Path | None) -> Split:
        """Every window of a part; several domains have as many windows each as the smallest, and take turns."""
        import torch

        found = self._index(data_dir)
        ids_L = torch.from_numpy(found.tokens(part))
        inputs, targets, groups = [], [], []
        for number, (start, stop) in enumerate(found.domains[part]):
            count = (stop - start - 1) // self.window
            inputs.append(ids_L[start : start + count * self.window].view(count, self.window))
            targets.append(ids_L[start + 1 : start + 1 + count * self.window].view(count, self.window))
            groups.append(torch.tensor(number).expand(count, self.window))
        if len(inputs) == 1:
            return Split(inputs[0], {"token": targets[0]})
        fewest = min(map(len, inputs))

        def in_turns(parts: list[Tensor]) -> Tensor:
            return torch.stack([_evenly(each, fewest) for each in parts], 1).flatten(0, 1)

        return Split(in_turns(inputs), {"token": in_turns(targets)}, in_turns(groups))

    def loss(self, outputs: Values, batch: Split) -> Tensor:
        """Mean cross-entropy in nats of a token, in float32."""
        from torch.nn import functional as F

        logits_NTV, target_NT = outputs["token"], batch.targets["token"].long()
        return F.cross_entropy(logits_NTV.float().flatten(0, 1), target_NT.flatten())

    def scores(self, outputs: Values, batch: Split) -> Values:
        """Sums over a window (N,): nats, right, tokens and bytes of what is scored, of which :meth:`summary` makes
        bits per byte, nats per token and the share of right tokens.
        """
        import torch
        from torch.nn import functional as F

        logits_NTV, target_NT = outputs["token"], batch.targets["token"].long()
        nats_NT = F.cross_entropy(logits_NTV.flatten(0, 1), target_NT.flatten(), reduction="none").view_as(target_NT)
        counts_NT = self._scored(batch).double()
        bytes_V = torch.tensor(self._lengths, dtype=torch.double, device=target_NT.device)
        right_NT = (logits_NTV.argmax(-1) == target_NT).double()
        return {
            self.info.ranked_by.name: (nats_NT.double() * counts_NT).sum(1) / math.log(2),
            "loss_nats": (nats_NT.double() * counts_NT).sum(1),
            "accuracy": (right_NT * counts_NT).sum(1),
            "scored_tokens": counts_NT.sum(1),
            "scored_bytes": (bytes_V[target_NT] * counts_NT).sum(1),
        }

    def summary(self, values: Values) -> dict[str, float]:
        """Of the whole part: bits over bytes, nats and right ones over tokens, and how many were scored."""
        sums = {name: float(value.sum()) for name, value in values.items()}
        tokens, scored = sums["scored_tokens"], sums["scored_bytes"]
        name = self.info.ranked_by.name
        return sums | {
            name: sums[name] / scored,
            "loss_nats": sums["loss_nats"] / tokens,
            "accuracy": sums["accuracy"] / tokens,
        }

    def digest(self, data_dir: Path | None = None) -> str:
        """Twenty hexadecimal digits of the documents, their parts and the tokenizer."""
        return self._index(data_dir).digest

    def fingerprint(self, data_dir: Path | None = None) -> str:
        """Of the files."""
        return " ".join(corpus.fingerprint(data_dir) for corpus in self.corpora)

    def token_names(self, ids: Sequence[int]) -> list[str]:
        """The text of each token between quotation marks, escaped as Python does; a hidden one has a name."""

        def name(token: int) -> str:
            return repr(bytes([token]))[1:] if self.tokenizer == BYTES else repr(self.decoded([token], self._where))

        return ["hidden" if token == self.size else name(token) for token in ids]

    def group_names(self, groups: Sequence[int]) -> list[str]:
        """The domains of the text."""
        return [self.corpora[group].domain for group in groups]

    def encoded(self, text: str, data_dir: Path | None = None) -> list[int]:
        """Its token ids. Text of a command line may hold bytes that are no UTF-8, as surrogates."""
        data = text.encode(errors="surrogateescape")
        if self.tokenizer == BYTES:
            return list(data)
        ids: list[int] = coder_of(self._index(data_dir)).encode(data.decode(errors="replace")).ids
        return ids

    def decoded(self, ids: Sequence[int], data_dir: Path | None = None) -> str:
        """The text of token ids; bytes that are no UTF-8 become U+FFFD."""
        if self.tokenizer == BYTES:
            return bytes(ids).decode(errors="replace")
        text: str = coder_of(self._index(data_dir)).decode(list(ids))
        return text

    def _scored(self, batch: Split) -> Tensor:
        """Whether each token (N, T) is scored: all of them."""
        import torch

        return torch.ones_like(batch.targets["token"], dtype=torch.bool)

    def _index(self, data_dir: Path | None) -> Index:
        found = index(self.corpora, self.tokenizer, data_dir)
        for part, bounds in found.domains.items():
            if min(stop - start for start, stop in bounds) <= self.window:
                raise DataError(
                    f"the {part} part of {self.label} is shorter than a window of {self.window} tokens; bring more "
                    "text, or choose a shorter window.",
                    code="shorter-than-window",
                )
        self._lengths, self._where = found.bytes_V, data_dir
        return found


class MaskedTextTask(TextTask):
    """Tokens of a window are hidden, and to be told from all others: for layers that are not causal, too.

    The id V stands for a hidden token. Bits per masked byte are no probability of the text. Training draws windows and
    masks anew; those of validation and test are fixed. Settings as :class:`TextTask`.
    """

    masked = True

    @overload
    def load(self, part: Literal["train"], data_dir: Path | None = None) -> Split | Stream: ...
    @overload
    def load(self, part: Literal["validation", "test"], data_dir: Path | None = None) -> Split: ...
    def load(self, part: Part, data_dir: Path | None = None) -> Split | Stream:
        """Windows ids_NT with hidden tokens; the targets are the tokens themselves."""
        import torch

        self.check_part(part)
        windows = self._windows(part, data_dir)
        if part != "train":
            held = _held_out(windows, self.scored // self.window, part)
            return self._hide(held, torch.Generator().manual_seed(SEEDS[part]))
        rows = len(windows)
        return Stream(
            lambda count, generator: self._hide(windows[torch.randint(rows, (count,), generator=generator)], generator)
        )

    def _hide(self, windows: Split, generator: Generator) -> Split:
        import torch

        ids_NT = windows.inputs.long()
        hidden_NT = torch.rand(ids_NT.shape, generator=generator) < MASKED
        return Split(ids_NT.masked_fill(hidden_NT, self.size), {"token": ids_NT}, windows.groups_NT)

    def loss(self, outputs: Values, batch: Split) -> Tensor:
        """Mean cross-entropy in nats of a hidden token, in float32; 0 for a batch without one."""
        from torch.nn import functional as F

        hidden_NT = self._scored(batch)
        logits_NTV, target_NT = outputs["token"], batch.targets["token"].masked_fill(~hidden_NT, -100)
        total = F.cross_entropy(logits_NTV.float().flatten(0, 1), target_NT.flatten(), reduction="sum")
        return total / hidden_NT.sum().clamp(min=1)

    def _scored(self, batch: Split) -> Tensor:
        """Those that are hidden."""
        return batch.inputs == self.size


def _held_out(split: Split, most: int, part: Part) -> Split:
    """So many rows at most, at equal distances, in a fixed random order: measures that read the first ones read all of
    the text, and not its first document.
    """
    import torch

    kept = split if len(split) <= most else split.each(lambda rows: _evenly(rows, max(1, most)))
    order = torch.randperm(len(kept), generator=torch.Generator().manual_seed(SEEDS[part]))
    return kept.each(lambda rows: rows[order])


def _evenly(rows: Tensor, count: int) -> Tensor:
    import torch

    return rows[torch.arange(count) * len(rows) // count]


CODE = TextTask("code", "sympy's source", [PythonSource()])
BIBLE = TextTask("bible", "King James Bible", [Bible()])
SHAKESPEARE = TextTask("shakespeare", "tinyshakespeare", [Shakespeare()])
DOMAINS = TextTask("domains", "code, bible and shakespeare", [PythonSource(), Bible(), Shakespeare()])
TEXT = TextTask("text", "the user's text", [Own()])
CODE_MASKED = MaskedTextTask("code_masked", "sympy's source, masked", [PythonSource()])
BIBLE_MASKED = MaskedTextTask("bible_masked", "King James Bible, masked", [Bible()])
DOMAINS_MASKED = MaskedTextTask(
    "domains_masked", "code, bible and shakespeare, masked", [PythonSource(), Bible(), Shakespeare()]
)
TEXT_MASKED = MaskedTextTask("text_masked", "the user's text, masked", [Own()])
