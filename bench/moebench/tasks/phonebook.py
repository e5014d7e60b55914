"""A phone book to be known by heart: random names, random numbers (Mixture of Parrots, arXiv 2410.19034)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from moebench.tasks.base import Part, Split, TaskInfo, Tokens
from moebench.tasks.targets import Sequences, accuracy

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


LETTERS, NAME = 26, 4
DIGITS, NUMBER = 10, 4
SEED = 0


class PhonebookTask(Sequences):
    """Closed book: trained on every pair, then asked for every number. A pair is right when all its digits are.

    An input is a name and all digits but the last; the last letter and these digits each answer with the digit that
    follows. Token ids: letters from 0, digits from 26. All parts are the same: what is asked for is what was to be
    learnt.
    """

    def __init__(self, pairs: int) -> None:
        self.pairs = pairs
        self.info = TaskInfo(
            name=f"phonebook_{pairs}",
            inputs=Tokens(length=NAME + NUMBER - 1, vocabulary=LETTERS + DIGITS, answer=NUMBER),
            targets={"number": LETTERS + DIGITS},
            headline=accuracy(floor=DIGITS**-NUMBER),
            label=f"phone book of {pairs:,} pairs",
        )
        self.split = f"closed book: the same {pairs} pairs in every part, seed {SEED}"

    def load(self, part: Part, data_dir: Path | None = None) -> Split:
        """All pairs; ``data_dir`` is not used."""
        import torch

        self.check_part(part)
        tokens_NT = torch.from_numpy(entries(self.pairs))
        return Split(tokens_NT[:, :-1], {"number": tokens_NT[:, NAME:].contiguous()})

    def digest(self, data_dir: Path | None = None) -> str:
        """Twenty hexadecimal digits of all pairs."""
        return hashlib.sha256(entries(self.pairs).astype("<i8").tobytes()).hexdigest()[:20]


def entries(pairs: int) -> NDArray[np.int64]:
    """Token ids (pairs, name and number). No name comes twice; numbers may.

    Drawn with NumPy's RandomState, whose stream is frozen for good.
    """
    import numpy as np

    random = np.random.RandomState(SEED)
    name_N = random.permutation(LETTERS**NAME)[:pairs]
    powers = LETTERS ** np.arange(NAME)[::-1]
    letters = name_N[:, None] // powers % LETTERS
    digits = random.randint(0, DIGITS, (pairs, NUMBER))
    return np.concatenate([letters, LETTERS + digits], axis=1).astype(np.int64)


# Each book begins with the pairs of those that are smaller; from 512 to 4,096 there are four to an octave.
PHONEBOOK_256 = PhonebookTask(256)
PHONEBOOK_512 = PhonebookTask(512)
PHONEBOOK_609 = PhonebookTask(609)
PHONEBOOK_724 = PhonebookTask(724)
PHONEBOOK_861 = PhonebookTask(861)
PHONEBOOK_1024 = PhonebookTask(1024)
PHONEBOOK_1218 = PhonebookTask(1218)
PHONEBOOK_1448 = PhonebookTask(1448)
PHONEBOOK_1722 = PhonebookTask(1722)
PHONEBOOK_2048 = PhonebookTask(2048)
PHONEBOOK_2435 = PhonebookTask(2435)
PHONEBOOK_2896 = PhonebookTask(2896)
PHONEBOOK_3444 = PhonebookTask(3444)
PHONEBOOK_4096 = PhonebookTask(4096)
PHONEBOOK_8192 = PhonebookTask(8192)
PHONEBOOK_16384 = PhonebookTask(16384)
