"""One run in the history: its id, shortened, and its rows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from raysched.core.model import born
from raysched.errors import NotFound
from raysched.show.text import plain_rows

if TYPE_CHECKING:
    from raysched.store.archive import Archive

_SECOND = re.compile(r".+@\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?=\.)")


def short_id(run_id: str, others: list[str]) -> str:
    """Return a prefix of an id that still tells it from the others, for a narrow terminal."""
    match = _SECOND.match(run_id)
    short = match[0] if match else run_id
    return short if sum(other.startswith(short) for other in others) == 1 else run_id


def row_of(archive: Archive, run_id: str) -> dict[str, Any]:
    """Return a run's row.

    Raises:
        NotFound: the files have none.
    """
    rows = rows_of(archive, "runs", run_id)
    if not rows:  # taken for another home's, or removed between two looks
        raise NotFound(f"there is no run {run_id!r}.", fix="see `raysched runs --since all`.")
    return rows[-1]


def rows_of(archive: Archive, dataset: str, run_id: str) -> list[dict[str, Any]]:
    """Return the rows of a dataset that are about one run."""
    from raysched.store.archive import Question

    question = Question(dataset=dataset, run_id=run_id, since=born(run_id))
    return plain_rows(archive.frame(question))
