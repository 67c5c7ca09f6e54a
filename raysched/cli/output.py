"""What commands print: results to stdout, everything that is told about them to stderr.

Law: a result is a list of rows or a set of facts, and comes out as a table, as JSON
or as CSV. A table fits the terminal, JSON and CSV hold every column whole. What is
left out is said.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from raysched.cli.console import console, in_style, styled, text_line
from raysched.cli.table import Column, cell_text, table_of
from raysched.show.text import harmless, harmless_json, one_line
from raysched.spec.units import iso

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from raysched.errors import RayschedError

MOST = 50
"""How many rows a list shows unless it is asked for all."""

_LEVEL, _CHECK = 7, 21


class Format(StrEnum):
    """How a result is written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def show_rows(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    form: Format,
    *,
    names: Sequence[str] = (),
    total: int | None = None,
    of: str = "rows",
    cells: Sequence[Mapping[str, Any]] | None = None,
) -> None:
    """Print rows: all their columns as JSON or CSV, the given ones as a table.

    `names` are the keys of a row, for a CSV's header where there may be none; `total` is how
    many there are if these are only some; `cells` holds the rows as a table shows them, if
    that differs.
    """
    match form:
        case Format.JSON:
            _print_json([dict(row) for row in rows])
        case Format.CSV:
            _print_csv(rows, list(rows[0]) if rows else names)
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
                        name.replace("_", " "), styled(value) if state else Text(cell_text(value))
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


def _print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> None:
    if rows:
        _print(table_of(rows, columns))


def _print(table: Table) -> None:
    out = console()
    if out.is_terminal:
        out.print(table)
        return
    with out.capture() as text:
        out.print(table)
    sys.stdout.writelines(f"{line.rstrip()}\n" for line in text.get().splitlines())


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


def _print_csv(rows: Iterable[Mapping[str, Any]], header: Sequence[str]) -> None:
    import csv
    import json

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
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


def say(text: object, style: str = "") -> None:
    """Tell what was done, or what is worth knowing."""
    _aside().print(in_style(harmless(text), style), soft_wrap=True)


def say_next(*words: object) -> None:
    """Tell the next command to type."""
    import shlex

    line = in_style("next: ", "dim")
    line.append(harmless(" ".join(["raysched", *(shlex.quote(str(word)) for word in words)])))
    _aside().print(line, soft_wrap=True)


def say_error(error: RayschedError) -> None:
    """Tell what is wrong, why, and what to do."""
    out = _aside()
    line = in_style("error: ", "bold red")
    line.append(harmless(error.what))
    out.print(line, soft_wrap=True)
    for name, text in (("why", error.why), ("fix", error.fix)):
        if text:
            # Every line of theirs is indented, so that none can pass for one of ours.
            out.print(in_style(f"  {name}: ", "dim").append(_indented(text)), soft_wrap=True)


def _aside() -> Console:
    """Return a console on stderr; where both streams lead to one file, results keep their place."""
    sys.stdout.flush()
    return console(sys.stderr)


def _indented(text: str) -> str:
    return harmless(text.rstrip()).replace("\n", "\n       ")
