"""Rows as a table that fits the terminal: which columns give way, and which are left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from raysched.cli.console import console, styled
from raysched.show.text import harmless
from raysched.spec.units import iso

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

_GAP, _TIGHTEST, _NARROWEST = 2, 10, 24


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


def _cell(value: Any, column: Column) -> Text:
    text = styled("" if value is None else cell_text(value))
    if column.tight:
        text.no_wrap, text.overflow = True, "ellipsis"
    return text


def cell_text(value: Any) -> str:
    """Return a value as a table shows it: harmless text, of an instant ISO in UTC."""
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{harmless(name)} {cell_text(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(cell_text(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return harmless(value)
