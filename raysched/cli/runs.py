"""Commands about runs: trigger, list, show, read, explain, cancel, retry.

What only reads the history asks no scheduler: it works while none is up.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raysched.cli.options import (
    All,
    Home,
    Name,
    Output,
    RunId,
    Since,
    connected,
    history_of,
    is_running,
    params_of,
    since_of,
)
from raysched.cli.output import (
    MOST,
    Column,
    Format,
    say,
    say_next,
    show_facts,
    show_rows,
    show_text,
)
from raysched.cli.text import instant, length, plain_rows
from raysched.core.states import State
from raysched.errors import Ambiguous, Conflict, NotFound, RunFailed, WaitTimeout

if TYPE_CHECKING:
    from raysched.client import Client, Run

_ASK_EVERY_S = 0.5
_INSTANT = re.compile(r"@(\d{4}-\d\d-\d\d)T")
_SECOND = re.compile(r".+@\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?=\.)")
_CANNOT_BE_PLACED = 5


def trigger(
    name: Name,
    params: Annotated[
        list[str] | None,
        typer.Option(
            "-p",
            "--param",
            metavar="K=V",
            help="A parameter. V is JSON if it reads as JSON (3, true, [1], '\"3\"'), else text.",
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for its end; exit 3 if it failed.")
    ] = False,
    timeout: Annotated[
        str | None, typer.Option("--timeout", help="With --wait: how long, as 30s or 5m; exit 4.")
    ] = None,
    home: Home = None,
) -> None:
    """Run a job now, and print the run's id.

    With --wait, a run that fits no node is not waited for (exit 5). It stays queued.
    """
    limit = _limit(timeout, wait)
    values = params_of(params or [])
    client = connected(home)
    run = client.trigger(name, **values)
    show_text(run.id)
    why = _misfit(client, run)
    if why:
        say(f"the run waits: {why}.", "yellow")
    if not wait:
        say(f"triggered {name}.")
        say_next("logs", run.id, "-f")
    elif why:
        say_next("cancel", run.id)
        raise typer.Exit(_CANNOT_BE_PLACED)
    else:
        _await(run, limit)


def _limit(timeout: str | None, wait: bool) -> float | None:
    if timeout is None:
        return None
    if not wait:
        raise typer.BadParameter("--timeout has no meaning without --wait.")
    from raysched.spec.units import duration

    return duration(timeout, of="--timeout").total_seconds()


def _misfit(client: Client, run: Run) -> str | None:
    """Return why no node could hold a run that has not started, if so."""
    try:
        return client.explain(run.id).get("misfit")
    except NotFound:
        return None  # over within a moment


def _await(run: Run, limit: float | None) -> None:
    try:
        row = run.wait(limit).details()
    except WaitTimeout as error:
        raise WaitTimeout(
            error.what, why=error.why, fix=f"it goes on; see `raysched logs {run.id} -f`."
        ) from None
    except KeyboardInterrupt:
        say(f"the run goes on; end it with `raysched cancel {run.id}`.")
        raise
    if row["status"] != State.SUCCEEDED:
        raise RunFailed(
            f"run {run.id} is {row['status']} after {length(row['duration_s']) or 'no time'}, "
            f"attempt {row['attempts']}.",
            why=row["reason"] or row["error_message"],
            fix=f"read its output: `raysched logs {run.id}`.",
        )
    result = row["result_json"] if row["result_kind"] == "json" else row["result_path"]
    say(f"succeeded in {length(row['duration_s'])}" + (f", result {result}" if result else ""))
    say_next("logs", run.id)


# --- history


def list_runs(
    *,
    since: Since = "24h",
    status: Annotated[
        State | None, typer.Option("--status", help="Only those in this state.")
    ] = None,
    job: Annotated[str | None, typer.Option("--job", help="Only those of this job.")] = None,
    every: All = False,
    home: Home = None,
    output: Output = Format.TABLE,
) -> None:
    """List runs, the newest first.

    Finished or not, straight from the files: a scheduler need not run.
    """
    from raysched.client import history

    frame = history.runs(
        history_of(home), since=since_of(since), status=status and str(status), job=job
    )
    total = len(frame)
    rows = plain_rows((frame if every else frame.tail(MOST)).iloc[::-1])
    cells = [
        {
            **row,
            "short": _short(row["run_id"], [each["run_id"] for each in rows]),
            "took": length(row["duration_s"]),
            "reason": row["reason"] or row["error_message"],
        }
        for row in rows
    ]
    columns = [
        Column("run (UTC)", "short" if sys.stdout.isatty() else "run_id"),
        Column("status", "status"),
        Column("took", "took", right=True),
        Column("reason", "reason", tight=True),
    ]
    show_rows(rows, columns, output, total=total, of="runs", cells=cells)
    if not rows:
        say("no run matches.")


def _short(run_id: str, others: list[str]) -> str:
    """Return a prefix of an id that still tells it from the others, for a narrow terminal."""
    match = _SECOND.match(run_id)
    short = match[0] if match else run_id
    return short if sum(other.startswith(short) for other in others) == 1 else run_id


def show_run(run_id: RunId, home: Home = None, output: Output = Format.TABLE) -> None:
    """Show all that is known of one run."""
    row, attempts = _known(run_id, home)
    if output is not Format.TABLE:
        show_facts({**row, "tried": attempts}, output)
        return
    facts: dict[str, Any] = {
        name: instant(value) if isinstance(value, datetime) else value
        for name, value in row.items()
    }
    if row["slot"] is not None:
        facts["slot"] = instant(row["slot"], row["timezone"] or "UTC")
    for name in ("duration_s", "lag_s", "cpu_time_s"):
        facts[name.removesuffix("_s").replace("_time", "")] = length(facts.pop(name))
    if progress := row.get("progress"):
        facts["progress"] = "{:g} of {:g}".format(*progress)
    show_facts(facts, output)
    for each in attempts if len(attempts) > 1 else ():
        took, reason = length(each["duration_s"]), each["reason"] or ""
        show_text(f"attempt {each['attempt']}  {each['status']}  {took}  {reason}".rstrip())
    say_next("logs", row["run_id"])


def _known(prefix: str, home: Path | None) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a run's row and its finished attempts: live if a scheduler runs, else from files."""
    from raysched.client import history

    if is_running(home):
        client = connected(home)
        run = client.run(prefix)
        return dict(run.details()), plain_rows(client.attempts(run.id))
    place = history_of(home)
    row = _row(place, _resolved(place, prefix))
    tried = history.attempts(place, run_id=row["run_id"], since=_born(row["run_id"]))
    return row, plain_rows(tried)


def logs(
    run_id: RunId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Until the run is over.")] = False,
    home: Home = None,
    output: Output = Format.TABLE,
) -> None:
    """Print a run's output.

    Of all its attempts, each line with its instant in UTC.
    """
    place = history_of(home)
    found = _resolved(place, run_id)
    if output is not Format.TABLE:
        show_rows(_lines(place, found, {}), [], output)
        return
    shown = _print_new(place, found, {})
    while True:
        row = _row(place, found)
        if State(row["status"]).final or not follow:
            break
        if not is_running(home):
            say("no scheduler is running: nothing more will come.")
            return
        time.sleep(_ASK_EVERY_S)
        shown = _print_new(place, found, shown)
    # Once more: lines may have come between the last look at them and at the state.
    shown = _print_new(place, found, shown)
    if not shown:
        say(f"run {found} has printed nothing.")
    say(f"run {found} is {row['status']}" + (f": {row['reason']}" if row["reason"] else "."))


def _print_new(place: Path, run_id: str, shown: Mapping[int, int]) -> dict[int, int]:
    """Print the lines beyond those shown, and return the last line number of each attempt."""
    last = dict(shown)
    for line in _lines(place, run_id, shown):
        attempt = line["attempt"]
        if attempt not in last and last:
            show_text(f"--- attempt {attempt}", "dim")
        last[attempt] = line["line_no"]
        at = f"{line['ts'].astimezone(UTC):%H:%M:%S.%f}"[:-3] + "Z"
        style = "yellow" if line["stream"] == "stderr" else ""
        show_text(f"{at}  {line['line']}", style)
    return last


def _lines(place: Path, run_id: str, shown: Mapping[int, int]) -> list[dict[str, Any]]:
    from raysched.client import history

    frame = history.logs(place, run_id=run_id, since=_born(run_id))
    lines = sorted(plain_rows(frame), key=lambda line: (line["attempt"], line["line_no"]))
    return [line for line in lines if line["line_no"] > shown.get(line["attempt"], 0)]


def decisions(
    job: Annotated[str | None, typer.Option("--job", help="Only those of this job.")] = None,
    since: Since = "24h",
    every: All = False,
    home: Home = None,
    output: Output = Format.TABLE,
) -> None:
    """List what became of slots, and why.

    The newest first, straight from the files: a scheduler need not run.
    """
    from raysched.client import history

    frame = history.decisions(history_of(home), since=since_of(since), job=job)
    total = len(frame)
    rows = plain_rows((frame if every else frame.tail(MOST)).iloc[::-1])
    cells = [
        {**row, "slot": _span(row), "reason": row["reason"] or row["run_id"] or ""} for row in rows
    ]
    columns = [
        Column("slot", "slot"),
        Column("job", "job"),
        Column("decision", "decision"),
        Column("reason, or run", "reason", tight=True),
    ]
    show_rows(rows, columns, output, total=total, of="decisions", cells=cells)
    if not rows:
        say("no decision matches.")


def _span(row: Mapping[str, Any]) -> str:
    first, last = row["slot"], row["last_slot"]
    text = instant(first)
    return text if last is None or last == first else f"{text} to {instant(last)}"


def explain(
    name: Annotated[str, typer.Argument(metavar="ID|NAME", help="A run's id, or a job's name.")],
    home: Home = None,
    output: Output = Format.TABLE,
) -> None:
    """Say why a job or a run is where it is."""
    if "@" in name and not is_running(home):
        place = history_of(home)
        row = _row(place, _resolved(place, name))
        facts = {key: row[key] for key in ("run_id", "job", "status", "reason")}
    else:
        facts = _explained(connected(home), name)
    if not facts["reason"]:
        facts = {**facts, "reason": f"it {_verb(facts['status'])}"}
    show_facts(facts, output)


def _explained(client: Client, name: str) -> dict[str, Any]:
    try:
        return client.explain(name)
    except NotFound as nothing:
        try:
            return client.explain(client.run(name).id)
        except NotFound:
            raise nothing from None


def _verb(status: str) -> str:
    return {"running": "runs", "queued": "is queued"}.get(status, status.replace("_", " "))


# --- changes


def cancel(run_id: RunId, home: Home = None) -> None:
    """Cancel an unfinished run.

    Its processes are ended, and it counts as cancelled.
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
    if State(after).final:
        say(f"cancelled {run.id}.")
    else:
        say(f"{run.id} is being cancelled; it is {after} until its processes are gone.")
    say_next("run", run.id)


def retry(run_id: RunId, home: Home = None) -> None:
    """Run a finished run once more.

    With its parameters and its slot. Prints the new run's id.
    """
    run = connected(home).run(run_id)
    again = run.retry()
    show_text(again.id)
    say(f"runs {run.id} once more.")
    say_next("logs", again.id, "-f")


# --- one run in the files


def _resolved(place: Path, prefix: str) -> str:
    """Return the id of the one run that begins with a prefix.

    Raises:
        NotFound: there is none.
        Ambiguous: there are several.
    """
    from raysched.spec.units import shown
    from raysched.store import query

    found = query.resolve(place, prefix)
    if prefix in found or len(found) == 1:
        return prefix if prefix in found else found[0]
    if found:
        raise Ambiguous(
            f"{len(found)}{' or more' * (len(found) >= 10)} runs begin with {shown(prefix)}.",
            why="among them " + ", ".join(found[:3]),
            fix="add characters.",
        )
    raise NotFound(
        f"there is no run {shown(prefix)}.",
        why="the history has none that begins so.",
        fix="see `raysched runs --since all`.",
    )


def _row(place: Path, run_id: str) -> dict[str, Any]:
    from raysched.client import history

    rows = plain_rows(history.runs(place, run_id=run_id, since=_born(run_id)))
    if not rows:  # taken for another home's, or removed between two looks
        raise NotFound(f"there is no run {run_id!r}.", fix="see `raysched runs --since all`.")
    return rows[-1]


def _born(run_id: str) -> datetime | None:
    """Return an instant before a run was made, so that older files need not be opened."""
    match = _INSTANT.search(run_id)
    # A day earlier, for an id may carry the clock of the machine that triggered it.
    return datetime.fromisoformat(f"{match[1]}T00:00Z") - timedelta(days=1) if match else None
