"""Commands about instants: the slots to come, and what a cron expression means."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from raysched.cli.options import All, Home, Output, connected
from raysched.cli.output import MOST, Format, say, show_rows
from raysched.cli.table import Column
from raysched.show.text import instant, plain_rows, until


def next_slots(
    within: Annotated[str, typer.Option("--within", help="How far ahead to look.")] = "24h",
    every: All = False,
    home: Home = None,
    output: Output = Format.TABLE,
) -> None:
    """List the slots to come.

    By time, each in its job's time zone.
    """
    from raysched.engine.messages import MOST_SLOTS

    client = connected(home)
    frame = client.next(within)
    rows = plain_rows(frame)
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
            "in": until(row["slot"], now).removeprefix("in "),
            "note": "paused" if row["paused"] else "",
        }
        for row in shown
    ]
    columns = [
        Column("slot", "here"),
        Column("in", "in"),
        Column("job", "job", fold=True),
        Column("", "note", tight=True),
    ]
    names = [*frame.columns, "timezone"]
    show_rows(shown, columns, output, names=names, total=len(rows), of="slots", cells=cells)
    if len(rows) == MOST_SLOTS:
        say(f"these are the first {MOST_SLOTS:,}; later slots are not looked up.")
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
