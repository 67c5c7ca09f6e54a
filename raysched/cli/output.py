"""What commands print: results to stdout, everything that is told about them to stderr.

Law: a result is a list of rows or a set of facts, and comes out as a table, as JSON
or as CSV. A table fits the terminal, JSON and CSV hold every column whole. What is
left out is said.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TextIO

from raysched.show.text import harmless, harmless_json, one_line
from raysched.spec.units import iso

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from raysched.errors import RayschedError

MOST = 50
"""How many rows a list shows unless it is asked for all."""

_GAP, _TIGHTEST, _NARROWEST = 2, 10, 24
_LEVEL, _CHECK = 7, 21
_WIDE = 100_000  # a pipe has no edge
_STYLES = {
    "succeeded": "green",
    "fired": "green",
    "created": "green",
    "updated": "yellow",
    "running": "cyan",
    "queued": "yellow",
    "retrying": "yellow",
    "paused": "yellow",
    "failed": "bold red",
    "timed_out": "bold red",
    "lost": "bold red",
    "deleted": "red",
    "ok": "green",
    "warn": "yellow",
    "fail": "bold red",
    "unknown": "dim",
    "missed": "red",
    "cancelled": "magenta",
    "skipped": "magenta",
    "coalesced": "magenta",
    "not running": "red",
}


class Format(StrEnum):
    """How a result is written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its header, and the key of the rows' values.

    A `tight` one is cut to what the terminal has left, a `fold` one goes on in further
    lines; any other is shown whole.
    """

    header: str
    key: str
    tight: bool = False
    fold: bool = False
    right: bool = False


def console(stream: TextIO | None = None) -> Console:
    """Return a Rich console on stdout, or on another stream, that reads no markup."""
    from rich.console import Console

    out = sys.stdout if stream is None else stream
    width = None if out.isatty() else _WIDE
    return Console(
        file=out, markup=False, highlight=False, emoji=False, width=width, soft_wrap=False
    )


def styled(value: object) -> Text:
    """Return a harmless one-line text, coloured if it is a state."""
    from rich.text import Text

    return Text(one_line(value), style=_STYLES.get(str(value), ""))


# --- results, to stdout


def show_rows(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    form: Format,
    *,
    total: int | None = None,
    of: str = "rows",
    cells: Sequence[Mapping[str, Any]] | None = None,
) -> None:
    """Print rows: all their columns as JSON or CSV, the given ones as a table.

    `total` is how many there are if these are only some; `cells` holds the rows as a
    table shows them, if that differs.
    """
    match form:
        case Format.JSON:
            _print_json([dict(row) for row in rows])
        case Format.CSV:
            _print_csv(rows, [column.key for column in columns])
        case Format.TABLE:
            _print_table(rows if cells is None else cells, columns)
    if total is not None and total > len(rows):
        say(f"{len(rows):,} of {total:,} {of}, use --all")


def show_facts(facts: Mapping[str, Any], form: Format) -> None:
    """Print one thing: name and value a line, or a JSON object, or one CSV row."""
    match form:
        case Format.JSON:
            _print_json(dict(facts))
        case Format.CSV:
            _print_csv([facts], list(facts))
        case Format.TABLE:
            from rich.table import Table
            from rich.text import Text

            table = Table.grid(padding=(0, 2))
            table.add_column(no_wrap=True, style="bold")
            table.add_column(overflow="fold")
            for name, value in facts.items():
                if value not in (None, "", {}, []):
                    state = name in ("status", "state", "decision")
                    table.add_row(
                        name.replace("_", " "), styled(value) if state else Text(_fact(value))
                    )
            _print(table)


def show_done(rows: Sequence[Mapping[str, Any]], key: str, form: Format) -> None:
    """Print what a change was about: a name or id a line, or whole rows as JSON or CSV."""
    if form is not Format.TABLE:
        show_rows(rows, [], form)
        return
    for row in rows:
        show_text(row[key])


def show_text(text: object, style: str = "") -> None:
    """Print one harmless line of a result, however long."""
    text_line(console(), text, style)


def text_line(out: Console, text: object, style: str = "") -> None:
    """Print one harmless line on a console; where nothing is coloured, without Rich's toil."""
    if style and out.is_terminal:
        out.print(_text(harmless(text), style), soft_wrap=True)
    else:
        out.file.write(harmless(text) + "\n")


def show_told(what: str, why: str, fix: str | None) -> None:
    """Print a result that is told as an error is: what, why, and what to do if anything."""
    show_text(what, "bold")
    for name, text in (("why", why), ("fix", fix)):
        if text:
            show_text(f"  {name}: {_indented(text)}")


def show_finding(check: str, level: str, evidence: str, fix: str | None) -> None:
    """Print one finding of an examination as a result: its level, what it is about, evidence."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(width=_LEVEL)
    table.add_column(width=_CHECK)
    table.add_column(overflow="fold")
    told = Text(one_line(evidence))
    if fix:
        told.append("\nfix: ", style="dim").append(one_line(fix))
    table.add_row(styled(level), Text(check, style="bold"), told)
    _print(table)
    sys.stdout.flush()


def _fact(value: Any) -> str:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{harmless(name)} {_fact(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_fact(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return harmless(value)


def _print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> None:
    if rows:
        _print(table_of(rows, columns))


def table_of(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], room: int | None = None
) -> Table:
    """Return a table of rows that fits the terminal, or `room` characters."""
    from rich.cells import cell_len
    from rich.table import Table

    cells = [[_cell(row.get(column.key), column) for column in columns] for row in rows]
    natural = [
        max([cell_len(column.header) or 1, *(line[n].cell_len for line in cells)])
        for n, column in enumerate(columns)
    ]
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    widths = fitted(columns, natural, room or console().width)
    for column, width in zip(columns, widths, strict=True):
        if not width:
            continue
        table.add_column(
            column.header,
            width=width,
            no_wrap=not column.fold,
            overflow="ellipsis" if column.tight else "fold",
            justify="right" if column.right else "left",
        )
    for line in cells:
        table.add_row(*(cell for cell, width in zip(line, widths, strict=True) if width))
    if left_out := [c.header for c, width in zip(columns, widths, strict=True) if not width]:
        table.caption = f"no room for {', '.join(left_out)}; -o json shows all"
        table.caption_justify = "left"
    return table


def fitted(columns: Sequence[Column], natural: Sequence[int], room: int) -> list[int]:
    """Return the columns' widths.

    Tight ones give way first, then those that fold; where that is not enough, the last of
    the tight ones are left out, with a width of 0.
    """
    widths = list(natural)
    tight = [n for n, column in enumerate(columns) if column.tight]
    folding = [n for n, column in enumerate(columns) if column.fold]
    _squeeze(widths, tight, _TIGHTEST, room)
    _squeeze(widths, folding, _NARROWEST, room)
    while tight and _over(widths, room) > 0:
        widths[tight.pop()] = 0
    for n in [*folding, *tight]:  # what one that is left out has given up
        widths[n] = min(natural[n], widths[n] + max(0, -_over(widths, room)))
    return widths


def _squeeze(widths: list[int], givers: Sequence[int], least: int, room: int) -> None:
    while givers and (over := _over(widths, room)) > 0:
        widest = max(givers, key=lambda n: widths[n])
        others = max((widths[n] for n in givers if n != widest), default=0)
        spare = widths[widest] - max(least, min(others, widths[widest] - 1))
        if spare <= 0:
            return
        widths[widest] -= min(over, spare)


def _over(widths: Sequence[int], room: int) -> int:
    shown = [width for width in widths if width]
    return sum(shown) + _GAP * (len(shown) - 1) - room


def _print(table: Table) -> None:
    out = console()
    if out.is_terminal:
        out.print(table)
        return
    with out.capture() as text:
        out.print(table)
    sys.stdout.writelines(f"{line.rstrip()}\n" for line in text.get().splitlines())


def _cell(value: Any, column: Column) -> Text:
    text = styled("" if value is None else _fact(value))
    if column.tight:
        text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _print_json(value: Any) -> None:
    import json

    text = json.dumps(value, indent=2, ensure_ascii=False, default=jsonable)
    sys.stdout.write(harmless_json(text) + "\n")


def jsonable(value: object) -> Any:
    """Return what JSON takes for a value that it does not know."""
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)


def _print_csv(rows: Iterable[Mapping[str, Any]], names: Sequence[str]) -> None:
    import csv
    import json

    found = list(rows)
    header = list(found[0]) if found else list(names)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(header)
    for row in found:
        values = (row.get(name) for name in header)
        writer.writerow(
            harmless(
                json.dumps(value, ensure_ascii=False, default=jsonable)
                if isinstance(value, list | tuple | Mapping)
                else iso(value)
                if isinstance(value, datetime)
                else ""
                if value is None
                else value
            )
            for value in values
        )


# --- narration, to stderr


def say(text: object, style: str = "") -> None:
    """Tell what was done, or what is worth knowing."""
    _aside().print(_text(harmless(text), style), soft_wrap=True)


def say_next(*words: object) -> None:
    """Tell the next command to type."""
    import shlex

    line = _text("next: ", "dim")
    line.append(harmless(" ".join(["raysched", *(shlex.quote(str(word)) for word in words)])))
    _aside().print(line, soft_wrap=True)


def say_error(error: RayschedError) -> None:
    """Tell what is wrong, why, and what to do."""
    out = _aside()
    line = _text("error: ", "bold red")
    line.append(harmless(error.what))
    out.print(line, soft_wrap=True)
    for name, text in (("why", error.why), ("fix", error.fix)):
        if text:
            # Every line of theirs is indented, so that none can pass for one of ours.
            out.print(_text(f"  {name}: ", "dim").append(_indented(text)), soft_wrap=True)


def _aside() -> Console:
    """Return a console on stderr; where both streams lead to one file, results keep their place."""
    sys.stdout.flush()
    return console(sys.stderr)


def _indented(text: str) -> str:
    return harmless(text.rstrip()).replace("\n", "\n       ")


def _text(text: str, style: str) -> Text:
    from rich.text import Text

    return Text.assemble((text, style))
