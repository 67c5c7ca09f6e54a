"""Commands about job files: check them, and deploy them."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raysched.cli.options import Home, Output, connected
from raysched.cli.output import Column, Format, say, say_next, show_rows
from raysched.cli.text import instant, plain_rows
from raysched.errors import NotFound

if TYPE_CHECKING:
    from raysched.client import Client
    from raysched.client.folder import Scan
    from raysched.spec.job import JobSpec

Folder = Annotated[Path, typer.Argument(metavar="[PATH]", help="A folder of job files, or one.")]
_JOBS = Path("jobs")


def check(path: Folder = _JOBS, output: Output = Format.TABLE) -> None:
    """Check job files, without a cluster.

    Shows every fault with its file and line, and every job's next slot. Exit 2 if there is
    a fault. Whether a function can be sent to a worker is checked by `deploy --plan`, which
    needs Ray.
    """
    scan = _scan(path)
    rows = [_checked(found.job.spec, found.file) for found in scan.found]
    rows += [
        {"job": None, "file": str(fault.file), "line": fault.line, "fault": fault.error}
        for fault in scan.faults
    ]
    if output is Format.TABLE:
        good = [row for row in rows if row["job"]]
        columns = [
            Column("job", "job"),
            Column("next slot", "next"),
            Column("schedule", "schedule", tight=True),
            Column("file", "file", tight=True),
        ]
        cells = [
            {
                **row,
                "next": instant(row["next_slot"], row["timezone"]) or "when triggered",
                "file": _short(Path(row["file"])),
            }
            for row in good
        ]
        show_rows(good, columns, output, cells=cells)
    else:
        whole = dict.fromkeys(_checked_columns)
        show_rows([{**whole, **row} for row in rows], [], output)
    _say_faults(scan)
    say(f"{len(scan.found)} job(s), {len(scan.faults)} fault(s) in {path}.")
    if scan.faults:
        raise typer.Exit(2)
    say_next("deploy", path)


_checked_columns = ("job", "file", "line", "schedule", "timezone", "next_slot", "fault")


def _checked(spec: JobSpec, file: Path) -> dict[str, Any]:
    return {
        "job": spec.name,
        "file": str(file),
        "schedule": spec.schedule_text,
        "timezone": spec.timezone,
        "next_slot": _first_slot(spec),
    }


def _first_slot(spec: JobSpec) -> datetime | None:
    from raysched.spec.schedules import next_slot

    now = datetime.now(UTC)
    return next_slot(spec.schedules, now, now)


def _scan(path: Path) -> Scan:
    from raysched.client.folder import scan

    with redirect_stdout(sys.stderr):  # what a job file prints when imported is no result
        found = scan(path)
    if not found.found and not found.faults:
        raise NotFound(
            f"no job is declared in {path}.",
            why="no file there, helpers aside, has @rs.job or rs.container or is a job.toml.",
            fix="name the folder of your job files.",
        )
    return found


def _say_faults(scan: Scan) -> None:
    for fault in scan.faults:
        place = f"{_short(fault.file)}:{fault.line}" if fault.line else _short(fault.file)
        what, _, rest = fault.error.partition("\n")
        say(f"{place}: {what}", "red")
        if rest.strip():
            say(rest)


def _short(file: Path) -> str:
    """Return a path as seen from here, if that is shorter."""
    try:
        return str(file.relative_to(Path.cwd()))
    except ValueError:
        return str(file)


def deploy(
    path: Folder = _JOBS,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what would change, and change nothing.")
    ] = False,
    home: Home = None,
    output: Output = Format.TABLE,
) -> None:
    """Deploy the jobs of a folder or file.

    All of them, or none if one is refused. A redeploy resets nothing: a paused job stays
    paused, a decided slot decided.
    """
    scan = _scan(path)
    if scan.faults:
        _say_faults(scan)
        say(f"{len(scan.faults)} fault(s) in {path}: nothing was deployed.")
        raise typer.Exit(2)
    client = connected(home)
    rows = _plan(client, scan) if plan else _deploy(client, path)
    zones = {found.job.name: found.job.spec.timezone for found in scan.found}
    _show_deployed(rows, zones, output)
    changed = sum(row["action"] != "unchanged" for row in rows)
    if plan:
        say(f"{changed} of {len(rows)} job(s) would change; nothing was changed.")
        say_next("deploy", path)
    else:
        same = len(rows) - changed
        say(f"deployed {changed} job(s)" + (f"; {same} unchanged." if same else "."))
        say_next("trigger", rows[0]["job"], "--wait") if changed else say_next("next")


def _deploy(client: Client, path: Path) -> list[dict[str, Any]]:
    with redirect_stdout(sys.stderr):
        return plain_rows(client.deploy(path))


def _plan(client: Client, scan: Scan) -> list[dict[str, Any]]:
    from raysched.runners.pinned import pin

    deployed = {row["job"]: row for row in plain_rows(client.jobs())}
    rows: list[dict[str, Any]] = []
    for found in scan.found:
        spec = found.job.spec
        pinned = pin(found.job, scan.folder)
        version, old = spec.version(pinned.code_hash), deployed.get(spec.name)
        same = old is not None and old["version"] == version
        rows.append(
            {
                "job": spec.name,
                "version": version,
                "action": "created" if old is None else "unchanged" if same else "updated",
                "paused": bool(old and old["paused"]),
                "next_slot": None if old and old["paused"] else _first_slot(spec),
                "warnings": [],
            }
        )
    return rows


def _show_deployed(rows: list[dict[str, Any]], zones: dict[str, str], form: Format) -> None:
    columns = [
        Column("job", "job"),
        Column("action", "action"),
        Column("version", "version"),
        Column("next slot", "next", tight=True),
    ]
    cells = [{**row, "next": _next_text(row, zones.get(row["job"], "UTC"))} for row in rows]
    show_rows(rows, columns, form, cells=cells)
    for row in rows:
        for warning in row["warnings"]:
            say(f"{row['job']}: {warning}", "yellow")


def _next_text(row: dict[str, Any], zone: str) -> str:
    if row["paused"]:
        return "paused"
    return instant(row["next_slot"], zone) or "when triggered"
