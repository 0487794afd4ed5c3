"""`tokenway doctor`: what is wrong here, and how to mend it."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from services.mesh.cli.ending import DONE, FAILED
from services.mesh.cli.json_output import json_option, print_json
from services.mesh.cli.local_mesh import DEFAULT_CONFIGURATION, state_dir_option
from services.mesh.cli.page import Page
from services.mesh.cli.table import print_table
from services.mesh.doctor.examination import examine
from services.mesh.doctor.finding import Finding, Verdict
from services.mesh.doctor.patient import admitted
from services.mesh.doctor.report import Report
from services.mesh.model.smollm2 import default_model_path
from services.mesh.state_directory import StateDirectory

_HEADINGS = ("verdict", "check", "of", "finding")
_STYLES = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.WRONG: "bold red", Verdict.SKIPPED: "dim"}


@click.command(
    cls=Page,
    examples=(
        ("tokenway doctor", "of what `tokenway up` would run, or of the mesh that runs"),
        ("tokenway doctor --config mesh.yaml", "of a configuration of your own, before it is started"),
        ("tokenway doctor --json | jq '.findings[] | select(.verdict == \"wrong\")'", "for programs"),
    ),
    exit_codes={DONE: "nothing is wrong; there may be warnings", FAILED: "something is wrong"},
    environment=("REDIS_URL", "XDG_CACHE_HOME"),
    runs_the_mesh=True,
)
@click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The configuration [that of the mesh that runs, else the default one].",
)
@json_option("One JSON object: verdict, findings.")
@state_dir_option
def doctor(*, file: Path | None, state: StateDirectory, as_json: bool) -> int:
    """Say what is wrong with a mesh, and what mends it.

    Examined are installation, configuration, ports, certificates, Redis, clock, models, GPUs, collector and mesh. Each
    finding is ok, a warning, wrong, or skipped for the reason that is said; with what is to be mended comes the command
    or the line of the configuration that mends it. Nothing is changed. Everything is examined at once and each thing
    within its time, 65 seconds for the slowest: nothing that hangs holds it.
    """
    admit = partial(
        admitted,
        file=file,
        default=DEFAULT_CONFIGURATION,
        state=state,
        environment=os.environ,
        default_model=default_model_path(),
    )
    console = Console(stderr=True)
    if as_json or not console.is_terminal:
        report = asyncio.run(examine(admit))
    else:
        with console.status("examining …"):
            report = asyncio.run(examine(admit))
    if as_json:
        print_json(report.fields())
    else:
        _show(report, Console())
    return FAILED if report.verdict is Verdict.WRONG else DONE


def _show(report: Report, console: Console) -> None:
    rows = [_row(each.check, finding) for each in report.examined for finding in each.findings]
    print_table(_HEADINGS, rows, console=console)
    counts = (f"{report.count(each)} {each}" for each in (Verdict.WRONG, Verdict.WARNING, Verdict.OK, Verdict.SKIPPED))
    console.print(Text(", ".join(counts), style=_STYLES[report.verdict]), soft_wrap=True)


def _row(check: str, finding: Finding) -> tuple[str | Text, ...]:
    says = Text.assemble(finding.says, (f" → {finding.cure}", "bold") if finding.cure else "")
    return Text(finding.verdict, style=_STYLES[finding.verdict]), check, finding.subject, says
