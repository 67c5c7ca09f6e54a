"""Commands about jobs: check, deploy, list, pause, resume, delete, and when they run next."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raysched.cli.options import All, Home, Name, Output, connected
from raysched.cli.output import (
    MOST,
    Column,
    Format,
    say,
    say_next,
    show_facts,
    show_rows,
)
from raysched.cli.text import instant, plain_rows, until
from raysched.errors import InputError, NotFound

if TYPE_CHECKING:
    from raysched.client import Client
    from raysched.client.folder import Scan
    from raysched.spec.job import JobSpec

Folder = Annotated[Path, typer.Argument(metavar="[PATH]", help="A folder of job files, or one.")]
Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Jobs by name.")]
Tag = Annotated[str | None, typer.Option("--tag", help="All jobs with this tag.")]
EveryJob = Annotated[bool, typer.Option("--all", help="All jobs.")]
_JOBS = Path("jobs")


# --- job files


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


# --- deployed jobs


def list_jobs(home: Home = None, every: All = False, output: Output = Format.TABLE) -> None:
    """List the deployed jobs."""
    rows = plain_rows(connected(home).jobs())
    now = datetime.now(UTC)
    shown = rows if every else rows[:MOST]
    cells = [{**row, "state": _state(row), "next": _when(row, now)} for row in shown]
    columns = [
        Column("job", "job"),
        Column("state", "state"),
        Column("next slot", "next"),
        Column("schedule", "schedule", tight=True),
        Column("tags", "tags", tight=True),
    ]
    show_rows(shown, columns, output, total=len(rows), of="jobs", cells=cells)
    if not rows:
        say("no job is deployed.")
        say_next("deploy", "jobs/")


def _state(row: dict[str, Any]) -> str:
    if row["running"]:
        return "running" if row["running"] == 1 else f"running {row['running']:,}"
    if row["queued"]:
        return "queued" if row["queued"] == 1 else f"queued {row['queued']:,}"
    return "paused" if row["paused"] else "waiting"


def _when(row: dict[str, Any], now: datetime) -> str:
    slot = row["next_slot"]
    if slot is None:
        return "paused" if row["paused"] else "when triggered"
    return instant(slot, row["timezone"])


def show_job(name: Name, home: Home = None, output: Output = Format.TABLE) -> None:
    """Show one job, its next slots and last runs."""
    client = connected(home)
    row = _job(client, name)
    slots = [each["slot"] for each in plain_rows(client.next("366d", job=name))[:5]]
    runs = plain_rows(client.runs(since="7d", job=name))[-5:][::-1]
    facts = {
        **row,
        "memory_bytes": row["memory_bytes"] or None,
        "status": client.explain(name)["status"],
        "reason": client.explain(name)["reason"],
    }
    if output is Format.TABLE:
        zone = row["timezone"]
        facts |= {
            "next_slot": [instant(slot, zone) for slot in slots],
            "deployed_at": instant(row["deployed_at"], zone),
            "running": row["running"] or None,
            "queued": row["queued"] or None,
            "num_gpus": row["num_gpus"] or None,
        }
        facts["last_runs"] = [f"{run['run_id']} {run['status']}" for run in runs]
    else:
        facts |= {"next_slots": slots, "last_runs": [run["run_id"] for run in runs]}
    show_facts(facts, output)
    say_next("trigger", name)


def _job(client: Client, name: str) -> dict[str, Any]:
    rows = {row["job"]: row for row in plain_rows(client.jobs())}
    if name in rows:
        return rows[name]
    from raysched.spec.parameters import closest
    from raysched.spec.units import shown

    raise NotFound(
        f"there is no job {shown(name)}.",
        why=f"{len(rows):,} jobs are deployed, none of them is called so.",
        fix=closest(name, list(rows)) or "see `raysched jobs`.",
    )


def delete(name: Name, home: Home = None) -> None:
    """Delete a job; its history stays.

    Its waiting runs are cancelled, a running one goes on to its end.
    """
    answer = connected(home).delete(name)
    say(f"deleted job {name}.")
    if answer["cancelled"]:
        say(f"cancelled {len(answer['cancelled'])} waiting run(s).")
    for run_id in answer["running"]:
        say(f"{run_id} goes on to its end.")
    say_next("jobs")


def pause(
    names: Names = None,
    tag: Tag = None,
    every: EveryJob = False,
    note: Annotated[str, typer.Option("--note", help="Why; it is the reason of each skip.")] = "",
    home: Home = None,
) -> None:
    """Pause jobs: their slots are skipped.

    Until they are resumed, with the note as the reason. Runs under way go on, and a paused
    job can still be triggered.
    """
    client = connected(home)
    done = client.pause(*_chosen(client, names, tag, every), note=note)
    say(f"paused {_listed(done)}" + (f": {note}" if note else "."))
    say_next("resume", *_again(done, tag, every))


def resume(
    names: Names = None, tag: Tag = None, every: EveryJob = False, home: Home = None
) -> None:
    """Resume paused jobs.

    The slots that passed meanwhile stay skipped.
    """
    client = connected(home)
    done = client.resume(*_chosen(client, names, tag, every))
    say(f"resumed {_listed(done)}.")
    say_next("next")


def _chosen(client: Client, names: list[str] | None, tag: str | None, every: bool) -> list[str]:
    if bool(names) + (tag is not None) + every != 1:
        raise InputError(
            "which jobs is not clear.",
            why="they are chosen by name, by --tag, or all with --all.",
            fix="give exactly one of the three.",
        )
    if names:
        return list(dict.fromkeys(names))
    rows = plain_rows(client.jobs())
    found = [row["job"] for row in rows if every or tag in row["tags"]]
    if not found:
        raise NotFound(
            f"no job has the tag {tag!r}." if tag else "no job is deployed.",
            fix="see `raysched jobs`.",
        )
    return found


def _again(names: Sequence[str], tag: str | None, every: bool) -> Iterable[str]:
    if every:
        return ["--all"]
    return ["--tag", tag] if tag else names


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{len(names):,} jobs: {shown}, ..."


# --- slots to come


def next_slots(
    within: Annotated[str, typer.Option("--within", help="How far ahead to look.")] = "24h",
    every: All = False,
    home: Home = None,
    output: Output = Format.TABLE,
) -> None:
    """List the slots to come.

    By time, each in its job's time zone.
    """
    client = connected(home)
    rows = plain_rows(client.next(within))
    zones = {row["job"]: row["timezone"] for row in plain_rows(client.jobs())}
    now = datetime.now(UTC)
    shown = [
        {**row, "timezone": zones.get(row["job"], "UTC")}
        for row in (rows if every else rows[:MOST])
    ]
    cells = [
        {
            **row,
            "here": instant(row["slot"], row["timezone"]),
            "in": until(row["slot"], now),
            "note": "paused" if row["paused"] else "",
        }
        for row in shown
    ]
    columns = [
        Column("slot", "here"),
        Column("in", "in"),
        Column("job", "job"),
        Column("", "note", tight=True),
    ]
    show_rows(shown, columns, output, total=len(rows), of="slots", cells=cells)
    if not rows:
        say(f"no slot within {within}.")


def cron(
    expression: Annotated[str, typer.Argument(metavar="EXPR", help="In quotes: '0 6 * * 1-5'.")],
    *,
    tz: Annotated[str, typer.Option("--tz", help="An IANA time zone.")] = "UTC",
    count: Annotated[int, typer.Option("--count", min=1, max=1000)] = 5,
    seconds: Annotated[
        bool, typer.Option("--seconds", help="Six fields, the seconds first.")
    ] = False,
    job: Annotated[str, typer.Option("--job", help="The job whose name H is hashed from.")] = "job",
    output: Output = Format.TABLE,
) -> None:
    """Say when a cron expression fires.

    Or what is wrong with it; needs no cluster.
    """
    from raysched.spec.names import job_name
    from raysched.spec.schedules import cron as parsed

    schedule = parsed(expression, timezone=tz, seconds=seconds).bound_to(job_name(job), tz)
    now = datetime.now(UTC)
    slots: list[datetime] = []
    while len(slots) < count and (slot := schedule.after(slots[-1] if slots else now, now)):
        slots.append(slot)
    rows = [{"slot": slot, "timezone": tz, "local": instant(slot, tz)} for slot in slots]
    cells = [
        {"local": row["local"], "utc": instant(slot), "in": until(slot, now)}
        for row, slot in zip(rows, slots, strict=True)
    ]
    columns = [Column(tz, "local"), Column("UTC", "utc"), Column("in", "in", tight=True)]
    show_rows(rows, columns if tz != "UTC" else columns[1:], output, cells=cells)
