"""`runs --watch`: the newest runs, again and again.

On a terminal one table that is drawn in place; elsewhere a line a change, which a
program can read. The history's files and the state database answer, as for `runs`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from raysched.cli.console import console
from raysched.cli.output import Format, jsonable, say
from raysched.cli.table import Column, table_of
from raysched.show.text import harmless_json, one_line

if TYPE_CHECKING:
    from rich.table import Table

Row = Mapping[str, Any]
Look = Callable[[], tuple[Sequence[Row], int]]
"""Gives the newest rows, the newest first, and how many there are in all."""

_EVERY_S = 1.0


def watch(look: Look, columns: Sequence[Column], form: Format) -> None:
    """Show runs until interrupted, which is how it is meant to end."""
    try:
        if form is Format.TABLE and sys.stdout.isatty():
            _draw(look, columns)
        else:
            _tell(look, form)
    except KeyboardInterrupt:
        return


def changed(known: Mapping[str, str], rows: Iterable[Row]) -> list[Row]:
    """Return the rows that are new or in another state than is known, the oldest first."""
    news = [row for row in rows if known.get(row["run_id"]) != row["status"]]
    return news[::-1]


def _draw(look: Look, columns: Sequence[Column]) -> None:
    from rich.live import Live

    out = console()
    with Live(console=out, auto_refresh=False) as live:
        for rows, total in _again(look):
            live.update(_fitting(rows, total, columns, out.height), refresh=True)


def _fitting(rows: Sequence[Row], total: int, columns: Sequence[Column], height: int) -> Table:
    """Return a table of as many rows as a terminal has lines, and say how many there are."""
    shown = rows[: max(1, height - 3)]
    table = table_of(shown, columns)
    count = f"{len(shown):,} of {total:,} runs" if total > len(shown) else f"{total:,} runs"
    told = (count, "Ctrl-C ends this, not the runs", table.caption)
    table.caption = "; ".join(str(each) for each in told if each)
    table.caption_justify = "left"
    return table


def _tell(look: Look, form: Format) -> None:
    known: dict[str, str] = {}
    for rows, total in _again(look):
        if not known and total > len(rows):
            say(f"from {len(rows):,} of {total:,} runs on")
        for row in changed(known, rows):
            known[row["run_id"]] = row["status"]
            sys.stdout.write(_line(row, form, datetime.now(UTC)) + "\n")
        sys.stdout.flush()


def _line(row: Row, form: Format, now: datetime) -> str:
    if form is Format.JSON:
        whole = {name: value for name, value in row.items() if name not in row["shown"]}
        return harmless_json(json.dumps(whole, ensure_ascii=False, default=jsonable))
    told = (f"{now:%Y-%m-%dT%H:%M:%SZ}", row["run_id"], row["status"], row["took"], row["why"])
    return "  ".join(one_line(text) for text in told if text)


def _again(look: Look) -> Iterable[tuple[Sequence[Row], int]]:
    while True:
        begun = time.monotonic()
        yield look()
        took = time.monotonic() - begun
        time.sleep(max(_EVERY_S, 4 * took) - min(took, _EVERY_S))
