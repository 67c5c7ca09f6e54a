"""One run in the files: its id from a prefix, its row."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from raysched.cli.text import plain_rows
from raysched.core.model import born
from raysched.errors import Ambiguous, NotFound

_SECOND = re.compile(r".+@\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?=\.)")


def short_id(run_id: str, others: list[str]) -> str:
    """Return a prefix of an id that still tells it from the others, for a narrow terminal."""
    match = _SECOND.match(run_id)
    short = match[0] if match else run_id
    return short if sum(other.startswith(short) for other in others) == 1 else run_id


def resolved(place: Path, prefix: str) -> str:
    """Return the id of the one run that begins with a prefix.

    Raises:
        NotFound: there is none.
        Ambiguous: there are several.
    """
    from raysched.spec.units import shown
    from raysched.store import query

    found = query.resolve(place, prefix)
    if prefix in found or len(found) == 1:
        return prefix if prefix in found else found[0]
    if found:
        raise Ambiguous(
            f"{len(found)}{' or more' * (len(found) >= 10)} runs begin with {shown(prefix)}.",
            why="among them " + ", ".join(found[:3]),
            fix="add characters.",
        )
    raise NotFound(
        f"there is no run {shown(prefix)}.",
        why="the history has none that begins so.",
        fix="see `raysched runs --since all`.",
    )


def row_of(place: Path, run_id: str) -> dict[str, Any]:
    """Return a run's row.

    Raises:
        NotFound: the files have none.
    """
    from raysched.client import history

    rows = plain_rows(history.runs(place, run_id=run_id, since=born(run_id)))
    if not rows:  # taken for another home's, or removed between two looks
        raise NotFound(f"there is no run {run_id!r}.", fix="see `raysched runs --since all`.")
    return rows[-1]
