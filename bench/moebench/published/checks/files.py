"""The manifest against the files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from moebench.board.formats import TEXTS
from moebench.board.model import Verification
from moebench.plugins.find import find_variants
from moebench.published import manifest, pack, verified
from moebench.published.specs import VARIANTS, file_of
from moebench.published.submission import Submission
from moebench.published.write import command_of, directory_of


def check(submission: Submission) -> Iterator[str]:
    """Digests, names and numbers of the manifest; files that do not belong there; the directory's own name."""
    yield from _digests(submission)
    yield from _strangers(submission)
    yield from _told(submission)
    lies, place = submission.directory.resolve().parts[-2:], directory_of(Path(), submission.plan).parts
    if lies != place:
        yield f"it lies in '{'/'.join(lies)}' and belongs in '{'/'.join(place)}'."


def _digests(submission: Submission) -> Iterator[str]:
    directory = submission.directory
    for name, digest in submission.manifest.sha256.items():
        path = directory / name
        if not path.resolve().is_relative_to(directory.resolve()) or not path.is_file() or path.is_symlink():
            yield f"'{name}' is in the manifest and not in the directory."
        elif manifest.sha256(path.read_bytes()) != digest:
            yield f"'{name}' is not the file that the manifest was made for: its SHA-256 differs."
    files = filter(None, (file_of(row.spec) for row in submission.plan.rows))
    needed, told = {pack.NAME, *files}, set(submission.manifest.sha256)
    if missing := sorted(needed - told):
        yield f"the manifest has no digest of {', '.join(missing)}."
    if strange := sorted(told - needed):
        yield f"the manifest has digests of what no row needs: {', '.join(strange)}."


def _strangers(submission: Submission) -> Iterator[str]:
    directory = submission.directory
    known = {manifest.NAME, verified.NAME, *(f"board.{suffix}" for suffix in TEXTS), *submission.manifest.sha256}
    paths = {path.relative_to(directory).as_posix(): path for path in directory.rglob("*")}
    folders = {VARIANTS} if any(name.startswith(f"{VARIANTS}/") for name in known) else set()
    if strange := sorted(paths.keys() - known - folders):
        yield f"{', '.join(strange)} does not belong in a published directory."
    if links := sorted(name for name, path in paths.items() if path.is_symlink()):
        yield f"{', '.join(links)} is a link, and a published directory holds what it says."


def _told(submission: Submission) -> Iterator[str]:
    about, plan = submission.manifest, submission.plan
    if about.submission != manifest.VERSION:
        yield f"{manifest.NAME} is of version {about.submission}; this moebench reads version {manifest.VERSION}."
    seen, runs = submission.verification, len(submission.training)
    if seen is not None and not 0 <= seen.exact <= seen.agreed <= seen.rerun <= seen.runs == runs:
        yield f"{verified.NAME} says that {seen.rerun} of {seen.runs} runs were seen again, and there are {runs}."
    if seen is not None and not _is_sound(seen):
        yield f"{verified.NAME} says of {seen.exact} exact of {seen.rerun} runs that they differ by {seen.largest:g}."
    if seen is not None and seen.records != manifest.sha256((submission.directory / pack.NAME).read_bytes()):
        yield f"{verified.NAME} is of other records than these; verify them with --rerun, or remove it."
    pairs = {
        "suite": (about.suite, plan.suite.name),
        "protocol": (about.protocol, plan.protocol),
        "device": (about.device, plan.device["name"]),
        "records": (about.records, len(submission.pack.records)),
        "command": (about.command, command_of(plan)),
        "packages": (sorted(about.packages), sorted(row.name for row in plan.rows if ".py:" not in row.spec)),
    }
    for name, (told, found) in pairs.items():
        if told != found:
            yield f"{manifest.NAME} says {name} '{told}', and its records are of '{found}'."
    yield from _packages(submission)


def _is_sound(seen: Verification) -> bool:
    """Whether the largest difference is one, and none where every run was the same."""
    return 0 <= seen.largest < float("inf") and (seen.exact < seen.rerun or seen.largest == 0)


def _packages(submission: Submission) -> Iterator[str]:
    """Who brings a row's variant, where it is installed here too."""
    installed, told = find_variants(), submission.manifest.packages
    for row in submission.plan.rows:
        if row.name in told and row.spec in installed:
            package, named = installed[row.spec].package, told[row.name].partition(" ")[0]
            if package != named:
                yield f"{manifest.NAME} says that '{row.name}' comes from '{named}', and here it does from '{package}'."
