"""What is told of a notebook that did not run to its end: which cell, and why."""

from __future__ import annotations

import re
from dataclasses import dataclass

import nbformat

from raysched.runners.native import (
    LONGEST_MESSAGE,
    LONGEST_REASON,
    LONGEST_TRACEBACK,
    Failed,
    clean,
)
from raysched.runners.notebook.document import tags
from raysched.spec.units import shown

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and cursors
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # titles and links
    r"|\x1b."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """What a cell raised, as the kernel tells it: anything."""

    kind: str
    message: str
    traceback: str = ""


def failed(cell: nbformat.NotebookNode, number: int, raised: Raised) -> Failed:
    """Return the failure of a cell, the nth that was executed."""
    kind, message = shown(raised.kind).strip("'\""), plain(raised.message)
    named = name(cell, number)
    what = ": ".join([kind, *message.strip().splitlines()[:1]])
    left = kind == "SystemExit" and re.fullmatch(r"-?\d{1,9}", message, re.ASCII)
    return Failed(
        reason=f"{named} failed: {what}"[:LONGEST_REASON],
        error_type=kind,
        error_message=f"{message}\nin {named}"[:LONGEST_MESSAGE],
        traceback=plain(raised.traceback)[-LONGEST_TRACEBACK:],
        exit_code=int(message) if left else None,
    )


def name(cell: nbformat.NotebookNode, number: int) -> str:
    """Return how a user finds a cell: its number as in `In [3]`, its tags, its first line."""
    tagged = ", ".join(shown(tag).strip("'\"") for tag in tags(cell)[:5])
    first = next(line for line in cell.source.splitlines() if line.strip())
    return f"cell {number}{f' [{tagged}]' if tagged else ''} {shown(first.strip())}"


def plain(text: str) -> str:
    """Return text without terminal escapes, as every reader copes with it."""
    return clean(_ESCAPES.sub("", text))
