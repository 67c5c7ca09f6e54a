"""The command that makes a run, and waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from raysched.cli.live import follow
from raysched.cli.options import Home, Name, Output, connected, params_of
from raysched.cli.output import Format, say, say_next, show_done, show_facts
from raysched.core.causes import Cause
from raysched.core.states import State
from raysched.errors import NotFound, RunFailed
from raysched.show.text import length

if TYPE_CHECKING:
    from raysched.client import Client, Run

_CANNOT_BE_PLACED = 5


def trigger(
    name: Name,
    *,
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
    output: Output = Format.TABLE,
) -> None:
    """Run a job now, and print the run's id.

    With --wait, a run that fits no node is not waited for (exit 5). It stays queued. An
    interruption ends the waiting, not the run. With -o json too, how it ended is printed.
    """
    limit = _limit(timeout, wait)
    values = params_of(params or [])
    client = connected(home)
    run = client.trigger(name, **values)
    made = {"run_id": run.id, "job": run.job}
    if not wait or output is Format.TABLE:  # else its end is the result
        show_done([made], "run_id", output)
    why = _misfit(client, run)
    if why:
        say(f"the run waits: {why}.", "yellow")
    if not wait:
        say(f"triggered {name}.")
        say_next("logs", run.id, "-f")
    elif why:
        if output is not Format.TABLE:
            show_done([made], "run_id", output)
        say_next("cancel", run.id)
        raise typer.Exit(_CANNOT_BE_PLACED)
    else:
        _ended(client, run, limit, output)


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
        found = client.explain(run.id)
    except NotFound:
        return None  # over within a moment
    return found["reason"] if found["cause"] == Cause.NO_CAPACITY_EVER else None


def _ended(client: Client, run: Run, limit: float | None, form: Format) -> None:
    """Wait for a run's end, and tell of it.

    Raises:
        RunFailed: it ended in another state than succeeded.
        WaitTimeout: it is still going.
    """
    try:
        row = follow(client, run, limit)
    except KeyboardInterrupt:
        say(f"the run goes on; end it with `raysched cancel {run.id}`.")
        raise
    if form is not Format.TABLE:
        show_facts(row, form)
    if row["status"] != State.SUCCEEDED:
        raise RunFailed(
            f"run {run.id} is {row['status']} after {length(row['duration_s']) or 'no time'}, "
            f"attempt {row['attempts']}.",
            why=row["reason"] or row["error_message"],
            fix=f"look at `raysched run {run.id}`, and at its output: `raysched logs {run.id}`.",
        )
    result = row["result_json"] if row["result_kind"] == "json" else row["result_path"]
    say(f"succeeded in {length(row['duration_s'])}" + (f", result {result}" if result else ""))
    say_next("logs", run.id)
