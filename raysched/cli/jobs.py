"""Commands about deployed jobs: list, show, pause, resume, delete."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raysched.cli import completion
from raysched.cli.options import All, Home, Name, Output, connected
from raysched.cli.output import MOST, Format, say, say_next, show_done, show_facts, show_rows
from raysched.cli.table import Column
from raysched.errors import InputError, NotFound
from raysched.show.text import instant, plain_rows, size, until

if TYPE_CHECKING:
    from raysched.client import Client

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME", help="Jobs by name.", autocompletion=completion.jobs),
]
Tag = Annotated[
    str | None,
    typer.Option("--tag", help="All jobs with this tag.", autocompletion=completion.tags),
]
EveryJob = Annotated[bool, typer.Option("--all", help="All jobs.")]


def list_jobs(home: Home = None, every: All = False, output: Output = Format.TABLE) -> None:
    """List the deployed jobs."""
    frame = connected(home).jobs()
    rows = plain_rows(frame)
    now = datetime.now(UTC)
    shown = rows if every else rows[:MOST]
    cells = [
        {**row, "state": _state(row), "next": _when(row), "in": _in(row, now)} for row in shown
    ]
    columns = [
        Column("job", "job", fold=True),
        Column("state", "state"),
        Column("next slot", "next"),
        Column("in", "in"),
        Column("schedule", "schedule", tight=True),
        Column("tags", "tags", tight=True),
    ]
    names = list(frame.columns)
    show_rows(shown, columns, output, names=names, total=len(rows), of="jobs", cells=cells)
    if not rows:
        say("no job is deployed.")
        say_next("deploy", "jobs/")


def _state(row: dict[str, Any]) -> str:
    if row["running"]:
        return "running" if row["running"] == 1 else f"running {row['running']:,}"
    if row["queued"]:
        return "queued" if row["queued"] == 1 else f"queued {row['queued']:,}"
    return "paused" if row["paused"] else "waiting"


def _in(row: dict[str, Any], now: datetime) -> str:
    return until(row["next_slot"], now).removeprefix("in ")


def _when(row: dict[str, Any]) -> str:
    slot = row["next_slot"]
    if slot is None:
        return "paused" if row["paused"] else "when triggered"
    return instant(slot, row["timezone"])


def _each(moment: datetime, zone: str, now: datetime) -> str:
    return f"{instant(moment, zone)} ({until(moment, now)})"


def show_job(name: Name, home: Home = None, output: Output = Format.TABLE) -> None:
    """Show one job, its next slots and last runs."""
    client = connected(home)
    row = _job(client, name)
    slots = [each["slot"] for each in plain_rows(client.next("366d", job=name))[:5]]
    runs = plain_rows(client.runs(since="7d", job=name))[-5:][::-1]
    explained = client.explain(name)
    facts = {
        **row,
        "memory_bytes": row["memory_bytes"] or None,
        "status": explained["status"],
        "reason": explained["reason"],
    }
    if output is Format.TABLE:
        zone, now = row["timezone"], datetime.now(UTC)
        facts |= {
            "next_slot": "\n".join(_each(slot, zone, now) for slot in slots),
            "deployed_at": _each(row["deployed_at"], zone, now),
            "running": row["running"] or None,
            "queued": row["queued"] or None,
            "num_cpus": f"{row['num_cpus']:g}",
            "num_gpus": f"{row['num_gpus']:g}" if row["num_gpus"] else None,
        }
        facts["memory"] = size(facts.pop("memory_bytes"))
        facts["last_runs"] = "\n".join(f"{run['run_id']} {run['status']}" for run in runs)
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
        why=f"none of the {len(rows):,} that are deployed is called so.",
        fix=closest(name, list(rows)) or "see `raysched jobs`.",
    )


def delete(name: Name, home: Home = None, output: Output = Format.TABLE) -> None:
    """Delete a job; its history stays.

    Its waiting runs are cancelled, a running one goes on to its end. Prints its name.
    """
    answer = connected(home).delete(name)
    show_done([answer], "job", output)
    say("deleted it; its history stays.")
    if answer["cancelled"]:
        say(f"cancelled {len(answer['cancelled'])} waiting run(s).")
    for run_id in answer["running"]:
        say(f"{run_id} goes on to its end.")
    say_next("jobs")


def pause(
    names: Names = None,
    *,
    tag: Tag = None,
    every: EveryJob = False,
    note: Annotated[str, typer.Option("--note", help="Why; it is the reason of each skip.")] = "",
    home: Home = None,
    output: Output = Format.TABLE,
) -> None:
    """Pause jobs: their slots are skipped.

    Until they are resumed, with the note as the reason. Runs under way go on, and a paused
    job can still be triggered. Prints the names of those that matched.
    """
    client = connected(home)
    done = client.pause(*_chosen(client, names, tag, every), note=note)
    rows = [{"job": job, "paused": True, "note": note or None} for job in done]
    show_done(rows, "job", output)
    say(f"paused {len(done):,} job(s)" + (f": {note}" if note else "."))
    say_next("resume", *_again(done, tag, every))


def resume(
    names: Names = None,
    tag: Tag = None,
    every: EveryJob = False,
    home: Home = None,
    output: Output = Format.TABLE,
) -> None:
    """Resume paused jobs.

    The slots that passed meanwhile stay skipped. Prints the names of those that matched.
    """
    client = connected(home)
    done = client.resume(*_chosen(client, names, tag, every))
    show_done([{"job": job, "paused": False} for job in done], "job", output)
    say(f"resumed {len(done):,} job(s).")
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
