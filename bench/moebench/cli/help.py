"""What ``--help`` says beside the options: an example, the suites there are; and what a shell completes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import click
from click.shell_completion import CompletionItem

EXAMPLES: Mapping[str, str] = {
    "run": "moebench run quick --variant mine.py:Mine",
    "plan": "moebench plan quick --variant mine.py:Mine",
    "leaderboard": "moebench leaderboard quick-all --max-latency-ratio 0.8",
    "compare": "moebench compare results-before results --suite quick",
    "report": "moebench report paper",
    "list": "moebench list variants",
    "check": "moebench check mine.py:Mine",
    "subset": "moebench subset RECORD --experts 8",
    "compress": "moebench compress RECORD --experts 4 --method merge",
    "sample": "moebench sample RECORD --prompt 'def '",
    "new": "moebench new my_layer",
    "publish": "moebench publish quick-all",
    "verify": "moebench verify results/published/quick-all/cpu --rerun 3",
    "site": "moebench site public",
    "sync": "moebench sync quick",
    "ui": "moebench ui --open",
}

OF_SUITES = ("run", "plan", "leaderboard", "report", "publish", "sync")
"""Commands that take a suite; ``report`` takes those that judge claims."""


def add_help(name: str, command: click.Command) -> None:
    """Give a command its example and what can be completed."""
    command.epilog = f"\b\nExample:\n  {EXAMPLES[name]}"
    for parameter in command.params:
        if completes := COMPLETED.get(str(parameter.name)):
            parameter._custom_shell_complete = _among(completes)
    if name in OF_SUITES:
        command.epilog += "\n\nSuites: " + ", ".join(_suites(judging=name == "report")) + "."


def _suites(judging: bool = False) -> list[str]:
    import tomllib

    from moebench.suites import find_suites

    files = find_suites()
    return [n for n, path in files.items() if not judging or "study" in tomllib.loads(path.read_text(encoding="utf-8"))]


def _variants() -> list[str]:
    from moebench.plugins.find import VARIANTS

    return list(VARIANTS.installed())


def _backends() -> list[str]:
    from moebench.plugins.find import BACKENDS

    return list(BACKENDS.installed())


def _compressors() -> list[str]:
    from moebench.plugins.find import COMPRESSORS

    return list(COMPRESSORS.installed())


def _kinds() -> Sequence[str]:
    from moebench.cli.list import KINDS

    return KINDS


COMPLETED: Mapping[str, Callable[[], Iterable[str]]] = {
    "suite": _suites,
    "variants": _variants,
    "backend": _backends,
    "methods": _compressors,
    "what": _kinds,
}
"""By the parameter's name; files are completed beside them."""


def _among(
    names: Callable[[], Iterable[str]],
) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        found = [CompletionItem(name) for name in names() if name.startswith(incomplete)]
        return found or [CompletionItem(incomplete, type="file")]

    return complete


class Grouped(click.Command):
    """A command whose options are shown in groups. groups: by title, the names of parameters; the rest comes last."""

    groups: Mapping[str, Sequence[str]] = {}

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """A section for each group."""
        options = [each for each in self.get_params(ctx) if isinstance(each, click.Option)]
        shown = {str(each.name): record for each in options if (record := each.get_help_record(ctx)) is not None}
        for title, names in self.groups.items():
            with formatter.section(title):
                formatter.write_dl([shown.pop(name) for name in names if name in shown])
        with formatter.section("Output"):
            formatter.write_dl(list(shown.values()))
