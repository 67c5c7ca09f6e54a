"""The command that prints what a run wrote, and follows it.

Law: every line once and whole, in the order in which its attempt wrote it, however
often the scheduler is restarted or its rows move from the database into files.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raysched.cli.console import console, text_line
from raysched.cli.found import row_of, rows_of
from raysched.cli.options import Home, Output, RunId, history_of, is_running
from raysched.cli.output import Format, say, say_next, show_rows
from raysched.core.states import State

if TYPE_CHECKING:
    from raysched.store.archive import Archive

_ASK_EVERY_S = 0.5
Seen = Mapping[int, int]  # the number of the last line shown, by attempt


def logs(
    run_id: RunId,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Until the run is over.")] = False,
    tail: Annotated[
        int | None, typer.Option("--tail", "-n", min=0, help="Only the last so many lines.")
    ] = None,
    home: Home = None,
    output: Output = Format.TABLE,
) -> None:
    """Print a run's output.

    Of all its attempts, each line with its instant in UTC. With --follow across retries,
    until the run is over; an interruption ends the following, not the run.
    """
    if follow and output is not Format.TABLE:
        raise typer.BadParameter("--follow prints lines; leave --output out.")
    from raysched.client.prefix import whole_id

    archive = history_of(home)
    found = whole_id(run_id, archive)
    lines = fresh(rows_of(archive, "logs", found), {})
    shown = lines if tail is None else lines[max(0, len(lines) - tail) :]
    if len(shown) < len(lines):
        say(f"the last {len(shown):,} of {len(lines):,} lines")
    if output is not Format.TABLE:
        from raysched.store.schema import schema_of

        show_rows(shown, [], output, names=schema_of("logs").names)
        return
    seen = _print(shown, {})
    if follow:
        _follow(archive, found, home, {**seen, **last_of(lines)})
    row = row_of(archive, found)
    if not lines and not follow:
        say(f"run {found} has printed nothing.")
    say(f"run {found} is {row['status']}" + (f": {row['reason']}" if row["reason"] else "."))
    if not State(row["status"]).final:
        say_next("logs", found, "-f")
    elif row["status"] != State.SUCCEEDED:
        say_next("run", found)


def fresh(lines: Sequence[dict[str, Any]], seen: Seen) -> list[dict[str, Any]]:
    """Return the lines beyond those that were seen, in order."""
    beyond = [line for line in lines if line["line_no"] > seen.get(line["attempt"], 0)]
    return sorted(beyond, key=lambda line: (line["attempt"], line["line_no"]))


def last_of(lines: Sequence[dict[str, Any]]) -> dict[int, int]:
    """Return the number of the last line of each attempt, of lines in order."""
    return {line["attempt"]: line["line_no"] for line in lines}


def _follow(archive: Archive, run_id: str, home: Path | None, seen: Seen) -> None:
    told = ""
    try:
        while True:
            # The state before the lines: of a run that is over, all are there then.
            begun = time.monotonic()
            row = row_of(archive, run_id)
            lines = fresh(rows_of(archive, "logs", run_id), seen)
            seen = {**seen, **_print(lines, seen)}
            if State(row["status"]).final:
                return
            if not is_running(home):
                say("no scheduler is running: nothing more will come.")
                return
            told = _tell_of(row, told)
            took = time.monotonic() - begun
            time.sleep(max(_ASK_EVERY_S, 4 * took))
    except KeyboardInterrupt:
        say(f"run {run_id} goes on; end it with `raysched cancel {run_id}`.")
        raise


def _tell_of(row: Mapping[str, Any], told: str) -> str:
    """Say once why a run that is followed does not run."""
    state = f"{row['status']}" + (f": {row['reason']}" if row["reason"] else "")
    if state != told and row["status"] != State.RUNNING:
        say(f"it is {state}", "dim")
    return state


def _print(lines: Sequence[dict[str, Any]], seen: Seen) -> dict[int, int]:
    """Print lines, and return the number of the last one of each attempt."""
    out, last = console(), dict(seen)
    for line in lines:
        attempt = line["attempt"]
        if attempt not in last and (last or attempt > 1):
            text_line(out, f"--- attempt {attempt}", "dim")
        last[attempt] = line["line_no"]
        at = f"{line['ts'].astimezone(UTC):%H:%M:%S.%f}"[:-3] + "Z"
        text_line(out, f"{at}  {line['line']}", "yellow" if line["stream"] == "stderr" else "")
    out.file.flush()
    return last
