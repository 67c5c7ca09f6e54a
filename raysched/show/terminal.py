"""A card in a terminal, as Rich draws it; its text passes through `harmless`, as everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from raysched.show.card import Bar, Card, Facts, Lines, Part, Table
from raysched.show.text import harmless, one_line

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

STYLES = {
    "succeeded": "green",
    "running": "cyan",
    "queued": "yellow",
    "retrying": "yellow",
    "failed": "bold red",
    "timed_out": "bold red",
    "lost": "bold red",
    "cancelled": "magenta",
    "skipped": "magenta",
    "warning": "yellow",
}
_LONGEST = 2_000
_BAR = 40


def heading(card: Card) -> str:
    """Return a card's first line as plain text: `Run a@b running for 3.1s`."""
    words = (card.kind, card.title, card.state, card.note)
    return " ".join(one_line(word[:_LONGEST]) for word in words if word)


def whole(card: Card) -> str:
    """Return a card's first line and its facts as plain text, a line each, however long."""
    facts = [part.facts.items() for part in card.parts if isinstance(part, Facts)]
    lines = [(name, line) for each in facts for name, value in each for line in value.splitlines()]
    return "\n".join([heading(card), *(f"  {one_line(n)}: {one_line(line)}" for n, line in lines)])


def drawn(card: Card) -> RenderableType:
    """Return a card as something that Rich prints."""
    from rich.console import Group

    return Group(_head(card), *(each for part in card.parts for each in _part(part)))


def _head(card: Card) -> Text:
    from rich.text import Text

    state = (one_line(card.state), STYLES.get(card.state, ""))
    title, note = one_line(card.title[:_LONGEST]), one_line(card.note[:_LONGEST])
    return Text.assemble((f"{one_line(card.kind)} ", "dim"), title, " ", state, " ", (note, "dim"))


def _part(part: Part) -> Iterator[RenderableType]:
    from rich.progress_bar import ProgressBar
    from rich.table import Table as Grid
    from rich.text import Text

    match part:
        case Facts():
            grid = Grid.grid(padding=(0, 2))
            for name, value in part.facts.items():
                if value:
                    grid.add_row(Text(one_line(name), style="dim"), Text(_cut(value)))
            yield grid
        case Bar():
            grid = Grid.grid(padding=(0, 2))
            grid.add_row(ProgressBar(total=1, completed=part.share, width=_BAR), Text(part.text))
            yield grid
        case Table():
            grid = Grid(*map(one_line, part.header), box=None, pad_edge=False)
            for row in part.rows:
                grid.add_row(*(Text(one_line(cell[:_LONGEST])) for cell in row))
            yield grid
        case Lines():
            for line in part.lines:
                yield Text(one_line(line[:_LONGEST]), no_wrap=True, overflow="ellipsis")


def _cut(text: str) -> str:
    return harmless(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")
