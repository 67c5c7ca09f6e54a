"""The command that prints what a run wrote, and follows it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC
from pathlib import Path
from typing import Annotated, Any

import typer

from raysched.cli.found import resolved, row_of
from raysched.cli.options import Home, Output, RunId, history_of, is_running
from raysched.cli.output import Format, say, show_rows, show_text
from raysched.cli.text import plain_rows
from raysched.core.model import born
from raysched.core.states import State

_ASK_EVERY_S = 0.5


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
    found = resolved(place, run_id)
    if output is not Format.TABLE:
        show_rows(_lines(place, found, {}), [], output)
        return
    shown = _print_new(place, found, {})
    while True:
        row = row_of(place, found)
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

    frame = history.logs(place, run_id=run_id, since=born(run_id))
    lines = sorted(plain_rows(frame), key=lambda line: (line["attempt"], line["line_no"]))
    return [line for line in lines if line["line_no"] > shown.get(line["attempt"], 0)]
