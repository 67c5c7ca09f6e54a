"""The text of the command line is that of every other face."""

from __future__ import annotations

from raysched.show.text import (
    harmless,
    harmless_json,
    instant,
    length,
    listed,
    one_line,
    plain,
    plain_rows,
    size,
    until,
)

__all__ = [
    "harmless",
    "harmless_json",
    "instant",
    "length",
    "listed",
    "one_line",
    "plain",
    "plain_rows",
    "size",
    "until",
]
