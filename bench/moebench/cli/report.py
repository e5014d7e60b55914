"""``moebench report [SUITE]``: the report of a suite that judges claims, from the records there are; trains nothing."""

from __future__ import annotations

from pathlib import Path

import click

from moebench.cli.options import COUNT, data_option, device_option, full_option, results_option


@click.command("report")
@click.argument("suite", default="paper")
@full_option
@results_option
@click.option(
    "--to",
    "--out",
    "out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where the report goes (default: a folder of the suite's name in the results).",
)
@click.option(
    "--packs",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Make it from packs of records, such as results/published/paper, instead of the results.",
)
@click.option("--seeds", type=COUNT, metavar="N", help="Of a run with N seeds.")
@click.option("--trials", type=COUNT, metavar="N", help="Of a run with N trials.")
@device_option
@data_option
def command(
    suite: str,
    full: bool,
    results: Path,
    out: Path | None,
    packs: Path | None,
    seeds: int | None,
    trials: int | None,
    device: str | None,
    data: Path | None,
) -> None:
    """Write the report of SUITE and print where its page is.

    SUITE is a name, a .toml file, or a suite that has run into the results (default: paper). The report is made from
    the records there are: parts that have not run are named as missing.
    """
    from moebench.errors import UsageError
    from moebench.plans.history import file_of
    from moebench.studies.write import check_report, plan_parts, write_report
    from moebench.suites import load_experiment
    from moebench.suites.request import ask

    experiment = load_experiment(file_of(results, suite))
    check_report(experiment)
    if packs is None:
        asked = ask(experiment, full=full, seeds=seeds, trials=trials, device=device, data=data)
        page = write_report(experiment, plan_parts(asked, results), results, out)
    else:
        given = {"--full": full, "--seeds": seeds, "--trials": trials, "--device": device, "--data": data}
        wrong = next((option for option, value in given.items() if value), None)
        if wrong:
            raise UsageError(
                f"packs are reports of their own seeds and data; leave {wrong} out.", code="packs-with-options"
            )
        page = write_report(experiment, packs, results, out)
    click.echo(page)
