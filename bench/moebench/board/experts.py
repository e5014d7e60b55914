"""Which rows have quotients of specialization that can be compared: those of as many experts, with nothing beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from moebench.board.evidence import RowStudy
from moebench.board.model import Estimate, ExpertsOfRow
from moebench.board.reasons import Reason

NOTHING = 1e-6
"""A share of the output below which no part of a layer always acts."""

Quotient = tuple[Estimate | None, Reason | None]


def experts_of(study: RowStudy) -> ExpertsOfRow | None:
    """Of the trained models of a row on a task; None while a run is missing, without experts, and where its records do
    not say.
    """
    records = study.final_records
    if not study.complete or not records:
        return None
    counts, shares = records[0].counts, [record.scores.get("always_on_share") for record in records]
    experts, per_token = counts.get("experts"), counts.get("experts_per_token")
    known = [share for share in shares if share is not None]
    if not experts or not any(experts) or not per_token or not known:
        return None
    return ExpertsOfRow(
        experts=tuple(map(int, experts)), per_token=tuple(map(float, per_token)), always_on=max(known) > NOTHING
    )


def comparable(
    quotients: Mapping[str, Quotient], experts: Mapping[str, Sequence[ExpertsOfRow | None]]
) -> dict[str, Quotient]:
    """The quotients by row, those that no other row's can be compared with replaced by the reason.

    experts: of each row, on each task.
    """
    alike: dict[tuple[ExpertsOfRow | None, ...], list[str]] = {}
    for row, (value, _) in quotients.items():
        if value is not None:
            alike.setdefault(tuple(experts[row]), []).append(row)
    groups = {
        of: rows for of, rows in alike.items() if len(rows) > 1 and all(each and not each.always_on for each in of)
    }
    found = dict(quotients)
    for of, rows in alike.items():
        if of not in groups:
            found |= {row: (None, _why_not(of, groups)) for row in rows}
    return found


def _why_not(
    of: tuple[ExpertsOfRow | None, ...], groups: Mapping[tuple[ExpertsOfRow | None, ...], Sequence[str]]
) -> Reason:
    known = [each for each in of if each is not None]
    if len(known) < len(of):
        return Reason("experts_unknown")
    if any(each.always_on for each in known):
        return Reason("always_on")
    others = tuple((in_words(each), tuple(rows)) for each, rows in groups.items())
    return Reason("experts_differ", own=in_words(of), groups=others)


def in_words(of: Sequence[ExpertsOfRow | None]) -> str:
    """``16 experts, 2 a token``, of each task where tasks differ."""
    return "; ".join(dict.fromkeys(each.words for each in of if each is not None))
