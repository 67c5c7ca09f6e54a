"""Where commands print, and in which colours: Rich, which reads no markup in what it is given."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

from raysched.show import terminal
from raysched.show.text import harmless, one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_WIDE = 100_000  # a pipe has no edge
STYLES = {
    **terminal.STYLES,
    "fired": "green",
    "created": "green",
    "updated": "yellow",
    "paused": "yellow",
    "deleted": "red",
    "ok": "green",
    "warn": "yellow",
    "fail": "bold red",
    "unknown": "dim",
    "missed": "red",
    "coalesced": "magenta",
    "not running": "red",
    "not answering": "red",
}
"""The colours of states, and of whatever else is one word of a closed set."""


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

    return Text(one_line(value), style=STYLES.get(str(value), ""))


def in_style(text: str, style: str) -> Text:
    """Return text of our own, or text made harmless, in a style."""
    from rich.text import Text

    return Text.assemble((text, style))


def text_line(out: Console, text: object, style: str = "") -> None:
    """Print one harmless line on a console; where nothing is coloured, without Rich's toil."""
    if style and out.is_terminal:
        out.print(in_style(harmless(text), style), soft_wrap=True)
    else:
        out.file.write(harmless(text) + "\n")
