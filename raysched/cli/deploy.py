"""The command that deploys job files, or says what a deploy would change."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raysched.cli.check import JOBS, Folder, say_faults, scan_of
from raysched.cli.options import Home, Output, connected
from raysched.cli.output import Format, say, say_next, show_rows, show_text
from raysched.cli.table import Column
from raysched.errors import InputError
from raysched.show.text import instant, listed, plain_rows

if TYPE_CHECKING:
    from raysched.client import Client

_RUNS = 3  # of a job that are named before the rest is counted


def deploy(
    path: Folder = JOBS,
    *,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what would change, and change nothing.")
    ] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete the jobs that are not there; asks before.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Prune without asking.")] = False,
    home: Home = None,
    output: Output = Format.TABLE,
) -> None:
    """Deploy the jobs of a folder or file.

    All of them, or none if one is refused. A redeploy resets nothing: a paused job stays
    paused, a decided slot decided, a run under way on its version.
    """
    scan = scan_of(path)
    if scan.faults:
        say_faults(scan)
        say(f"{len(scan.faults)} fault(s) in {path}: nothing was deployed.")
        raise typer.Exit(2)
    client = connected(home)
    if plan:
        _show_plan(_planned(client, path, prune), path, prune, output)
        return
    doomed = _doomed(client, path, yes) if prune else []
    with redirect_stdout(sys.stderr):
        rows = plain_rows(client.deploy(path, delete=doomed, show=False))
    zones = {found.job.name: found.job.spec.timezone for found in scan.found}
    _show_deployed(rows, zones, output)


def _planned(client: Client, path: Path, prune: bool) -> list[dict[str, Any]]:
    with redirect_stdout(sys.stderr):
        return plain_rows(client.plan(path, prune=prune, show=False))


def _doomed(client: Client, path: Path, yes: bool) -> list[str]:
    """Return the jobs to delete, once the user has agreed to just these.

    Raises:
        InputError: nobody is there to be asked.
    """
    rows = [row for row in _planned(client, path, prune=True) if row["action"] == "deleted"]
    names = [row["job"] for row in rows]
    if not rows or yes:
        return names
    if not sys.stdin.isatty():
        raise InputError(
            f"{len(rows)} job(s) would be deleted: {listed(names)}.",
            why=f"they are deployed and not in {path}, and there is no terminal to ask at.",
            fix="look with --plan --prune, then add --yes.",
        )
    for row in rows:
        say(f"{row['job']} will be deleted" + _of_its_runs(row), "red")
    if not typer.confirm(f"Delete {len(rows)} job(s)?", err=True):
        say("nothing was changed.")
        raise typer.Exit(1)
    return names


def _of_its_runs(row: dict[str, Any]) -> str:
    told = [f"waiting run {run} is cancelled" for run in row["cancelled"][:_RUNS]]
    told += [f"run {run} goes on to its end" for run in row["go_on"][:_RUNS]]
    more = len(row["cancelled"]) + len(row["go_on"]) - len(told)
    told += [f"and {more:,} more run(s)"] if more else []
    return f"; {'; '.join(told)}." if told else "; its history stays."


def _show_plan(rows: list[dict[str, Any]], path: Path, prune: bool, form: Format) -> None:
    changed = [row for row in rows if row["action"] != "unchanged"]
    if form is Format.TABLE:
        _show_changes(changed)
    else:
        show_rows(rows, [], form)
    for row in changed:
        for warning in row["warnings"]:
            say(f"{row['job']}: {warning}", "yellow")
        if row["go_on"] or row["cancelled"]:
            say(f"{row['job']}" + _of_its_runs(row).replace(";", ":", 1))
    say(f"{_counted(rows)}; nothing was changed.")
    say_next("deploy", path, *["--prune"] * prune)


def _show_changes(changed: list[dict[str, Any]]) -> None:
    cells = [
        {
            "job": row["job"],
            "action": row["action"],
            "before": _slot(row, "next_slot_before") if row["version_before"] else "",
            "after": _slot(row, "next_slot") if row["version"] else "",
        }
        for row in changed
    ]
    columns = [
        Column("job", "job", fold=True),
        Column("action", "action"),
        Column("next slot now", "before"),
        Column("next slot then", "after"),
    ]
    show_rows(cells, columns, Format.TABLE)
    fields = [{"job": row["job"], **each} for row in changed for each in row["changes"]]
    if fields:
        show_text("")
        columns = [Column("job", "job", fold=True), Column("changes", "field")]
        columns += [Column("from", "before", fold=True), Column("to", "after", fold=True)]
        show_rows(fields, columns, Format.TABLE)


def _slot(row: dict[str, Any], name: str) -> str:
    return "paused" if row["paused"] else instant(row[name], row["timezone"]) or "when triggered"


def _counted(rows: list[dict[str, Any]]) -> str:
    count = Counter(row["action"] for row in rows)
    order = ("created", "updated", "deleted", "unchanged")
    return ", ".join(f"{count[name]:,} {name}" for name in order if count[name]) or "no job"


def _show_deployed(rows: list[dict[str, Any]], zones: dict[str, str], form: Format) -> None:
    changed = [row for row in rows if row["action"] != "unchanged"]
    columns = [
        Column("job", "job", fold=True),
        Column("action", "action"),
        Column("version", "version"),
        Column("next slot", "next", tight=True),
    ]
    cells = [{**row, "next": _next_text(row, zones.get(row["job"], "UTC"))} for row in changed]
    show_rows(changed if form is Format.TABLE else rows, columns, form, cells=cells)
    for row in rows:
        for warning in row["warnings"]:
            say(f"{row['job']}: {warning}", "yellow")
    say(f"deployed: {_counted(rows)}.")
    alive = [row["job"] for row in changed if row["action"] != "deleted"]
    say_next("trigger", alive[0], "--wait") if alive else say_next("next")


def _next_text(row: dict[str, Any], zone: str) -> str:
    if row["action"] == "deleted":
        return ""
    if row["paused"]:
        return "paused"
    return instant(row["next_slot"], zone) or "when triggered"
