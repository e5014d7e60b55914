"""The rows and what surrounds them, against what `moebench publish` writes: before any code of theirs is looked for."""

from __future__ import annotations

import re
from collections.abc import Iterator

from moebench.planning.label import changed_in, label, protocol_of
from moebench.planning.request import changeable
from moebench.planning.rows import BASELINE
from moebench.plugins.find import find_variants, is_place
from moebench.published.specs import file_of
from moebench.published.submission import Submission

VERSION = re.compile(r"\d+(\.\d+)*([a-z+.-][\w+.-]*)?")


def check(submission: Submission) -> Iterator[str]:
    """Where each row's code lies, names that are taken, rows that are kept out, a device and labels that cannot be."""
    yield from _specs(submission)
    yield from _names(submission)
    yield from _kept_out(submission)
    yield from _device(submission)
    yield from _labels(submission)


def _specs(submission: Submission) -> Iterator[str]:
    """The later checks import it: it lies beside the records, in a file that the manifest vouches for."""
    suite = submission.plan.suite
    specs = [(row.name, row.spec) for row in submission.plan.rows]
    specs += [(spec, spec) for spec in suite.variants] + [(each.name, each.variant) for each in suite.reference]
    for name, spec in dict.fromkeys(specs):
        file = file_of(spec)
        if is_place(spec) and file is None:
            yield f"'{name}' is of '{spec}', and files of variants lie in variants/."
        elif file is not None and file not in submission.manifest.sha256:
            yield f"'{name}' is of '{spec}', and the manifest has no digest of that file."


def _names(submission: Submission) -> Iterator[str]:
    """A row from a file may not stand under the name of another: everything is compared with dense."""
    installed = find_variants()
    for row in submission.plan.rows:
        if is_place(row.spec) and row.name in installed:
            yield f"'{row.name}' is from a file, and that is the name of a variant of '{installed[row.name].package}'."
    if all(row.name != BASELINE for row in submission.plan.rows):
        yield f"there is no row '{BASELINE}', and every row is compared with it."


def _kept_out(submission: Submission) -> Iterator[str]:
    """What `moebench publish` writes has a result on everything, so nothing says why it has none."""
    plan = submission.plan
    for row in plan.rows:
        if row.problem or not row.selected:
            yield f"'{row.name}' is kept from its rank ('{row.problem}'), and a published row has nothing that does so."
    if any(group.problem or group.broken for group in plan.groups):
        yield "a study is said to have a problem, and those of published rows have none."
    if plan.data is not None:
        yield f"it says that its data lie in '{plan.data}', and no publication says where."


def _device(submission: Submission) -> Iterator[str]:
    kind, name, torch = (str(submission.plan.device[each]) for each in ("type", "name", "torch"))
    if kind not in ("cpu", "cuda"):
        yield f"its device is of type '{kind}', which is neither cpu nor cuda."
    elif not torch.startswith(kind) or name.startswith("cpu") != (kind == "cpu"):
        yield f"its device is a {kind}, and is called '{name}' and '{torch}'."


def _labels(submission: Submission) -> Iterator[str]:
    plan, about = submission.plan, submission.manifest
    changed, now = changed_in(plan.protocol), changeable(plan.suite)
    if label(protocol_of(plan.protocol), changed) != plan.protocol or not changed.items() <= now.items():
        yield f"its protocol is '{plan.protocol}', which is not how its suite's settings are said."
    told = {"moebench": about.moebench, **{n: p.partition(" ")[2] or p for n, p in about.packages.items()}}
    for name, version in told.items():
        if not VERSION.fullmatch(version):
            yield f"the version of '{name}' is said to be '{version}', which is none."
