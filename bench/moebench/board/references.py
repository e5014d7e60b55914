"""The ranked rows against each reference row: what a layer must beat before its name means anything."""

from __future__ import annotations

from collections.abc import Sequence

from moebench.board.evidence import Evidence
from moebench.board.model import Against
from moebench.board.rules import ALPHA
from moebench.board.statistics import holm, paired_test


def against_references(evidences: Sequence[Evidence], reasons: dict[str, str], higher: bool) -> tuple[Against, ...]:
    """Each reference row that is complete, with the ranked rows by what the seeds say of them.

    Paired by seed, with Holm's rule over all pairs of a ranked row and a reference row; reference rows stay out of the
    ranks' own adjustment, so that a suite with more of them ranks no less surely.
    """
    ranked = [each for each in evidences if not reasons[each.row.name]]
    references = [each for each in evidences if each.row.reference and each.complete]
    pairs = [(reference, row) for reference in references for row in ranked]
    tests = [paired_test(row.scores_SM, reference.scores_SM) for reference, row in pairs]
    adjusted = holm([test.p_value for test in tests])
    verdicts: dict[str, dict[str, list[str]]] = {each.row.name: {} for each in references}
    for (reference, row), test, p in zip(pairs, tests, adjusted, strict=True):
        verdict = "level" if p >= ALPHA else "better" if (test.difference > 0) == higher else "worse"
        verdicts[reference.row.name].setdefault(verdict, []).append(row.row.name)
    return tuple(
        Against(reference=name, **{verdict: tuple(rows) for verdict, rows in found.items()})
        for name, found in verdicts.items()
        if found
    )
