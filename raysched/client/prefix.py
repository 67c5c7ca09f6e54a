"""Which run is meant by the beginning of an id: one rule for the API and the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from raysched.core.model import born, one_of
from raysched.errors import NotFound

if TYPE_CHECKING:
    import pandas as pd

    from raysched.store.archive import Archive


def whole_id(prefix: str, archive: Archive, unfinished: Iterable[str] = ()) -> str:
    """Return the id of the one run that begins with a prefix.

    `unfinished` are ids that the scheduler names, for an archive that knows none of them.

    Raises:
        NotFound: there is none.
        Ambiguous: there are several.
    """
    if not prefix:  # all ids begin with nothing, and a single one is not meant by it
        raise not_found(prefix)
    found = set(unfinished)
    if prefix not in found:
        found |= set(archive.resolve(prefix))
    meant = one_of(prefix, sorted(found))
    if meant is None and not _ended_late(prefix, archive):
        raise not_found(prefix)
    return meant or prefix


def rows_of_run(
    prefix: str, rows: Callable[[str], pd.DataFrame], whole: Callable[[str], str]
) -> pd.DataFrame:
    """Return the rows about the one run that begins with a prefix.

    `rows` gives those of a whole id, and `whole` the whole id of a prefix, which is not
    looked for where the prefix is one already, and has rows.

    Raises:
        NotFound: there is no such run.
        Ambiguous: there are several.
    """
    found = rows(prefix)
    if not found.empty:
        return found
    meant = whole(prefix)
    return found if meant == prefix else rows(meant)


def not_found(run_id: str) -> NotFound:
    """Return the error for a run that nobody knows."""
    return NotFound(
        f"there is no run {run_id[:300]!r}.",
        why="neither the scheduler nor the history has one whose id is this or begins so.",
        fix="see `raysched runs --since all` or client.runs(since=None).",
    )


def _ended_late(run_id: str, archive: Archive) -> bool:
    """Whether this is the whole id of a run that ended later than prefixes are looked for."""
    from raysched.store.archive import Question

    since = born(run_id)
    if since is None:
        return False
    return not archive.frame(Question(dataset="runs", run_id=run_id, since=since)).empty
