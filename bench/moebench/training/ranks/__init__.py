"""Whether a batch can be shared equally; without torch, so that it is known before anything runs."""

from __future__ import annotations

from moebench.errors import UsageError


def check_shares(batch: int, micro_batch: int | None, ranks: int) -> None:
    """:class:`UsageError` unless every batch, and every micro-batch, can be shared equally among so many ranks."""
    for size, what in ((batch, "batch"), (micro_batch or batch, "micro-batch")):
        if size % ranks:
            raise UsageError(
                f"a {what} of {size} inputs cannot be shared equally among {ranks} ranks.",
                code="unequal-shares",
                what=what,
                size=size,
                ranks=ranks,
            )
