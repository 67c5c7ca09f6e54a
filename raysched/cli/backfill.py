"""The command that runs the slots of the past."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from raysched.cli.options import Home, Name, Output, connected, params_of
from raysched.cli.output import MOST, Format, say, say_next, show_rows
from raysched.cli.table import Column
from raysched.core.backfill import MAX_ACTIVE, Reprocess
from raysched.show.text import instant, plain_rows


def backfill(
    name: Name,
    start: Annotated[
        str, typer.Option("--from", help="The first instant, such as 2026-11-01T00:00Z.")
    ],
    end: Annotated[str, typer.Option("--to", help="The instant before which it ends.")],
    *,
    reprocess: Annotated[
        Reprocess,
        typer.Option("--reprocess", help="Which slots run again that have a run already."),
    ] = Reprocess.NONE,
    max_active: Annotated[
        int, typer.Option("--max-active", help="How many of its runs may be under way together.")
    ] = MAX_ACTIVE,
    params: Annotated[
        list[str] | None,
        typer.Option("-p", "--param", metavar="K=V", help="A parameter, as for trigger."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would run, and run nothing.")
    ] = False,
    every: Annotated[
        bool, typer.Option("--all", help="Show all slots, not only the first 50.")
    ] = False,
    home: Home = None,
    output: Output = Format.TABLE,
) -> None:
    """Run slots of the past.

    All that the job's schedule names from --from up to --to, the oldest first. A slot that has
    a run is left alone, unless --reprocess says otherwise. The job's own slots go on beside it;
    a pause does not hold it up.
    """
    from raysched.spec import units

    first, beyond = units.instant(start, of="--from"), units.instant(end, of="--to")
    client = connected(home)
    frame = client.backfill(
        name,
        first,
        beyond,
        reprocess=reprocess,
        max_active=max_active,
        params=params_of(params or []),
        dry_run=dry_run,
    )
    rows = plain_rows(frame)
    names = list(frame.columns)
    (job,) = (each for each in plain_rows(client.jobs()) if each["job"] == name)
    _show(rows, names, job["timezone"], every, output)
    _tell(name, rows, max_active, dry_run)
    if job["paused"]:
        say(f"{name} is paused: a backfill runs all the same, its own slots stay skipped.")


def _show(
    rows: list[dict[str, Any]], names: list[str], zone: str, every: bool, form: Format
) -> None:
    shown = rows if every or form is not Format.TABLE else rows[:MOST]
    cells = [{**row, "slot": instant(row["slot"], zone)} for row in shown]
    columns = [
        Column("slot", "slot"),
        Column("action", "action"),
        Column("reason", "reason", tight=True),
    ]
    show_rows(shown, columns, form, names=names, total=len(rows), of="slots", cells=cells)


def _tell(name: str, rows: list[dict[str, Any]], max_active: int, dry_run: bool) -> None:
    chosen = sum(row["action"] == "run" for row in rows)
    left = len(rows) - chosen
    if not rows:
        say(f"the schedule of {name} names no slot in this range.")
    elif dry_run:
        say(f"{chosen:,} slot(s) would run, {left:,} would be left; nothing was changed.")
    else:
        say(f"{chosen:,} slot(s) run, {max_active} at a time; {left:,} left alone.")
        say_next("runs", "--job", name)
