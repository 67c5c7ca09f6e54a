"""Commands about instants: the slots to come, and what a cron expression means."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Annotated

import typer

from raysched.cli.options import All, Home, Output, connected
from raysched.cli.output import MOST, Format, say, show_rows
from raysched.cli.table import Column
from raysched.errors import InputError, InvalidSchedule
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
    words: Annotated[
        list[str], typer.Argument(metavar="EXPR", help="One, in quotes: '0 6 * * 1-5'.")
    ],
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

    if len(words) > 1:
        raise _unquoted(words, tz=tz, seconds=seconds)
    schedule = parsed(words[0], timezone=tz, seconds=seconds).bound_to(job_name(job), tz)
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


def unexpanded(words: Sequence[str], names: Collection[str]) -> str:
    """Return what was typed if a shell put all of a folder's names in the place of each `*`."""
    typed: list[str] = []
    for expanded, run in groupby(words, names.__contains__):
        found = list(run)
        whole = expanded and len(found) % len(names) == 0
        typed += ["*"] * (len(found) // len(names)) if whole else found
    return " ".join(typed)


def _unquoted(words: Sequence[str], *, tz: str, seconds: bool) -> InputError:
    from raysched.spec.schedules import cron as parsed

    visible = {name for name in os.listdir() if not name.startswith(".")}
    meant = unexpanded(words, visible)
    try:
        parsed(meant, seconds=seconds)
    except InvalidSchedule:
        meant = "0 0 6 * * *" if seconds else "0 6 * * *"
    options = [*(["--tz", tz] if tz != "UTC" else []), *["--seconds"] * seconds]
    return InputError(
        f"the expression comes as {len(words):,} words, not as one.",
        why="it stands in no quotes: the shell splits it, and puts the names of files in the "
        "place of each *.",
        fix=f"quote it: {shlex.join(['raysched', 'cron', meant, *options])}",
    )
