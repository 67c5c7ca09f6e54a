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

from raysched.cli.text import harmless, harmless_json, one_line
from raysched.spec.units import iso

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from raysched.errors import RayschedError

MOST = 50
"""How many rows a list shows unless it is asked for all."""

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


def show_text(text: object, style: str = "") -> None:
    """Print one harmless line of a result, however long."""
    console().print(_text(harmless(text), style), soft_wrap=True)


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
    from rich.table import Table

    if not rows:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(
            column.header,
            no_wrap=not (column.tight or column.fold),
            overflow="ellipsis" if column.tight else "fold",
            justify="right" if column.right else "left",
        )
    for row in rows:
        table.add_row(*(_cell(row.get(column.key), column) for column in columns))
    _print(table)


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

    text = json.dumps(value, indent=2, ensure_ascii=False, default=_jsonable)
    sys.stdout.write(harmless_json(text) + "\n")


def _jsonable(value: object) -> Any:
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
                json.dumps(value, ensure_ascii=False, default=_jsonable)
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
    console(sys.stderr).print(_text(harmless(text), style), soft_wrap=True)


def say_next(*words: object) -> None:
    """Tell the next command to type."""
    import shlex

    line = _text("next: ", "dim")
    line.append(harmless(" ".join(["raysched", *(shlex.quote(str(word)) for word in words)])))
    console(sys.stderr).print(line, soft_wrap=True)


def say_error(error: RayschedError) -> None:
    """Tell what is wrong, why, and what to do."""
    out = console(sys.stderr)
    line = _text("error: ", "bold red")
    line.append(harmless(error.what))
    out.print(line, soft_wrap=True)
    for name, text in (("why", error.why), ("fix", error.fix)):
        if text:
            # Every line of theirs is indented, so that none can pass for one of ours.
            out.print(_text(f"  {name}: ", "dim").append(_indented(text)), soft_wrap=True)


def _indented(text: str) -> str:
    return harmless(text.rstrip()).replace("\n", "\n       ")


def _text(text: str, style: str) -> Text:
    from rich.text import Text

    return Text.assemble((text, style))
