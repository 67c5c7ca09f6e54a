"""Commands about runs: list, show, cancel, retry.

What only reads the history asks no scheduler: it works while none is up.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raysched.cli.found import row_of, rows_of, short_id
from raysched.cli.options import (
    All,
    Finished,
    Home,
    OfJob,
    Output,
    RunId,
    Since,
    Unfinished,
    connected,
    history_of,
    is_running,
)
from raysched.cli.output import (
    MOST,
    Format,
    say,
    say_next,
    show_done,
    show_facts,
    show_rows,
    show_text,
)
from raysched.cli.since import since as instant_since
from raysched.cli.table import Column
from raysched.cli.watch import watch
from raysched.core.states import State
from raysched.errors import Conflict
from raysched.show.text import instant, length, plain_rows, size, until

if TYPE_CHECKING:
    from raysched.store.archive import Archive


def list_runs(
    *,
    since: Since = "24h",
    status: Annotated[
        State | None, typer.Option("--status", help="Only those in this state.")
    ] = None,
    job: OfJob = None,
    every: All = False,
    keep_watching: Annotated[
        bool,
        typer.Option("--watch", "-w", help="Until interrupted; in a pipe, a line a change."),
    ] = False,
    home: Home = None,
    output: Output = Format.TABLE,
) -> None:
    """List runs, the newest first.

    Finished or not, straight from the files: a scheduler need not run. With --watch and
    -o json, each change is an object on a line of its own.
    """
    archive, start = history_of(home), instant_since(since, datetime.now(UTC))

    def look() -> tuple[list[dict[str, Any]], int]:
        return _newest(archive, start, status, job, every)

    columns = [
        Column("run", "short" if sys.stdout.isatty() else "run_id", fold=True),
        Column("status", "status"),
        Column("began", "began"),
        Column("took", "took", right=True),
        Column("reason", "why", tight=True),
    ]
    if keep_watching:
        if output is Format.CSV:
            raise typer.BadParameter("--watch prints lines or JSON objects, no CSV.")
        watch(look, columns, output)
        return
    cells, total = look()
    rows = [{name: row[name] for name in row if name not in _SHOWN} for row in cells]
    from raysched.store.schema import schema_of

    names = schema_of("runs").names
    show_rows(rows, columns, output, names=names, total=total, of="runs", cells=cells)
    if not rows:
        say(f"no run matches, with --since {since}.")


_SHOWN = ("shown", "short", "began", "took", "why")


def _newest(
    archive: Archive, start: datetime | None, status: State | None, job: str | None, every: bool
) -> tuple[list[dict[str, Any]], int]:
    """Return the newest runs with how a table shows them, and how many there are."""
    from raysched.store.archive import Question

    asked = Question(dataset="runs", since=start, status=status and str(status), job=job)
    frame = archive.frame(asked)
    rows = plain_rows((frame if every else frame.tail(MOST)).iloc[::-1])
    ids, now = [row["run_id"] for row in rows], datetime.now(UTC)
    cells = [
        {
            **row,
            "shown": _SHOWN,
            "short": short_id(row["run_id"], ids),
            "began": until(row["started_at"], now),
            "took": length(row["duration_s"]),
            "why": row["reason"] or row["error_message"],
        }
        for row in rows
    ]
    return cells, len(frame)


def show_run(run_id: RunId, home: Home = None, output: Output = Format.TABLE) -> None:
    """Show all that is known of one run."""
    row, attempts = _known(run_id, home)
    if output is not Format.TABLE:
        show_facts({**row, "tried": attempts}, output)
        return
    show_facts(_readable(row, datetime.now(UTC)), output)
    for each in attempts if len(attempts) > 1 else ():
        took, reason = length(each["duration_s"]), each["reason"] or ""
        show_text(f"attempt {each['attempt']}  {each['status']}  {took}  {reason}".rstrip())
    if attempts and attempts[-1]["traceback"]:
        # Indented, so that no line of it can pass for one of ours.
        show_text("traceback\n" + indent(attempts[-1]["traceback"].rstrip(), "  "))
    say_next("logs", row["run_id"])


def _readable(row: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Return a run's row as a reader wants it: with units, and without what it did not ask for."""

    def told(name: str, value: Any) -> Any:
        if isinstance(value, datetime):
            zone = row["timezone"] or "UTC" if name == "slot" else "UTC"
            return f"{instant(value, zone)} ({until(value, now)})"
        if name.endswith("_s"):
            return length(value)
        if name.endswith("_bytes"):
            return size(value) if value else None
        if name in ("num_cpus", "num_gpus"):
            return f"{value:g}" if value else None
        if name == "progress" and value:
            return "{:,.15g} of {:,.15g}".format(*value)
        return value

    return {
        name.removesuffix("_s").removesuffix("_bytes").replace("cpu_time", "cpu"): told(name, value)
        for name, value in row.items()
    }


def _known(prefix: str, home: Path | None) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a run's row and its finished attempts: live if a scheduler runs, else from files."""
    if is_running(home):
        client = connected(home)
        run = client.run(prefix)
        return dict(run.details()), plain_rows(client.attempts(run.id))
    from raysched.client.prefix import whole_id

    archive = history_of(home)
    row = row_of(archive, whole_id(prefix, archive))
    return row, rows_of(archive, "attempts", row["run_id"])


def decisions(
    job: OfJob = None,
    since: Since = "24h",
    every: All = False,
    home: Home = None,
    output: Output = Format.TABLE,
) -> None:
    """List what became of slots, and why.

    The newest first, straight from the files: a scheduler need not run.
    """
    from raysched.store.archive import Question

    start = instant_since(since, datetime.now(UTC))
    frame = history_of(home).frame(Question(dataset="decisions", since=start, job=job))
    total = len(frame)
    rows = plain_rows((frame if every else frame.tail(MOST)).iloc[::-1])
    cells = [
        {**row, "slot": _span(row), "reason": row["reason"] or row["run_id"] or ""} for row in rows
    ]
    columns = [
        Column("slot", "slot"),
        Column("job", "job", fold=True),
        Column("decision", "decision"),
        Column("reason, or run", "reason", tight=True),
    ]
    names = list(frame.columns)
    show_rows(rows, columns, output, names=names, total=total, of="decisions", cells=cells)
    if not rows:
        say(f"no decision matches, with --since {since}.")


def _span(row: Mapping[str, Any]) -> str:
    first, last = row["slot"], row["last_slot"]
    text = instant(first)
    return text if last is None or last == first else f"{text} to {instant(last)}"


def cancel(run_id: Unfinished, home: Home = None, output: Output = Format.TABLE) -> None:
    """Cancel an unfinished run.

    Its processes are ended, and it counts as cancelled. Prints its whole id.
    """
    client = connected(home)
    run = client.run(run_id)
    status = run.status
    if State(status).final:
        raise Conflict(
            f"run {run.id} is {status} already.",
            why="only a run that is not over can be cancelled.",
            fix=f"see `raysched run {run.id}`.",
        )
    after = client.cancel(run.id)
    show_done([{"run_id": run.id, "job": run.job, "status": after}], "run_id", output)
    if State(after).final:
        say("cancelled it.")
    else:
        say(f"it is being cancelled, and {after} until its processes are gone.")
    say_next("run", run.id)


def retry(run_id: Finished, home: Home = None, output: Output = Format.TABLE) -> None:
    """Run a finished run once more.

    With its parameters and its slot. Prints the new run's id.
    """
    run = connected(home).run(run_id)
    again = run.retry()
    made = {"run_id": again.id, "job": again.job, "origin": run.id}
    show_done([made], "run_id", output)
    say(f"runs {run.id} once more.")
    say_next("logs", again.id, "-f")
