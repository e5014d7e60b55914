"""What may have made the difference: code, the settings that tuning chose, device, backend and software."""

from __future__ import annotations

from moebench.board.evidence import Evidence, Study
from moebench.board.provenance import provenance


def changes(a: Evidence, b: Evidence) -> tuple[str, ...]:
    """``code``, ``settings``, ``device: X to Y``, ``torch: 2.13.0 to 2.14.1``: what differs between the final runs."""
    others = {study.info.name: study for study in b.studies}
    pairs = [(study, others[study.info.name]) for study in a.studies]
    parts = {"code": _code, "settings": _settings}
    found = [name for name, of in parts.items() if any(of(one) != of(two) for one, two in pairs)]
    sides = [_circumstances(each) for each in (a, b)]
    names = list(dict.fromkeys((*sides[0], *sides[1])))
    both = [(name, *(side.get(name) or "unknown" for side in sides)) for name in names]
    return (*found, *(f"{name}: {own} to {other}" for name, own, other in both if own != other))


def _code(study: Study) -> object:
    return study.group.template["code_digest"] if study.group else None


def _settings(study: Study) -> object:
    """The winner's."""
    return study.group.trials[study.winner] if study.group and study.winner is not None else None


def _circumstances(evidence: Evidence) -> dict[str, str]:
    found = provenance([record for study in evidence.studies for record in study.final_records])
    if found is None:
        return {}
    return {"device": ", ".join(found.devices), "backend": ", ".join(found.backends), **found.versions}
