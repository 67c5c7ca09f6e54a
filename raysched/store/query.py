"""The history as users ask for it: the files, and what no file holds yet.

Law: reads only, the database before the files: rows move from the one into the others
and never back, so that in this order none is missed, and one seen twice is kept once.
Where the database gives no answer, the files alone do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import dataset as ds
from sqlalchemy import Connection, select, union_all

from raysched.core.model import MOST_RESOLVED
from raysched.errors import StoreError
from raysched.store import layout, parquet, reader, stream
from raysched.store.consulting import consult
from raysched.store.home import Home, open_home, storing
from raysched.store.loading import storable, unsealed
from raysched.store.reader import Names
from raysched.store.schema import schema_of, to_table
from raysched.store.tables import outbox, runs

if TYPE_CHECKING:
    import pandas as pd

_DAYS = 31  # folders that are searched for them
_TRIES = 10  # each more means that somebody changed the files meanwhile
_INSTANT = re.compile(r"@(\d{4}-\d{2}-\d{2})")


def frame(
    home: str | Path | Home,
    dataset: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    job: Names | None = None,
    status: Names | None = None,
    run_id: Names | None = None,
    slots: tuple[datetime, datetime] | None = None,
    state_url: str | None = None,
) -> pd.DataFrame:
    """Return the rows of a dataset as a DataFrame, each once, unfinished runs among them.

    `slots` are the first slot of runs and decisions, and the one before which they end.
    `state_url` names the scheduler's database; left out, it is the one that the home names,
    or its own.

    Raises:
        InputError: there is no such dataset, it has no status, or a bound has no zone.
        StoreError: there is no such home, or a file or the database is damaged.
    """
    found = open_home(home)
    pending = _pending(found, dataset, job, run_id, state_url)
    table = reader.read(
        found,
        dataset,
        since=since,
        until=until,
        job=job,
        status=status,
        run_id=run_id,
        slots=slots,
        unsealed=pending,
    )
    return reader.to_frame(table)


def batches(
    home: str | Path | Home,
    dataset: str,
    *,
    job: Names | None = None,
    run_id: Names | None = None,
    state_url: str | None = None,
    **filters: Any,
) -> Iterator[pa.RecordBatch]:
    """Yield what `frame` would hold, a batch at a time and in the order of the files.

    Raises:
        InputError: there is no such dataset, it has no status, or a bound has no zone.
        StoreError: there is no such home, or a file or the database is damaged.
    """
    found = open_home(home)
    pending = _pending(found, dataset, job, run_id, state_url)
    return stream.batches(found, dataset, unsealed=pending, job=job, run_id=run_id, **filters)


def _pending(
    home: Home, dataset: str, job: Names | None, run_id: Names | None, state_url: str | None
) -> pa.Table:
    """The rows that no file holds yet.

    To be asked for before the files are read, by the module's law.
    """
    schema_of(dataset)
    only = run_id if isinstance(run_id, str) else None

    def ask(connection: Connection) -> list[dict[str, Any]]:
        return unsealed(connection, dataset, only)

    rows = consult(home, state_url, ask) or []
    rows = [row for row in rows if _is(row, "job", job) and _is(row, "run_id", run_id)]
    return to_table(dataset, rows)


def resolve(home: str | Path | Home, prefix: str, *, state_url: str | None = None) -> list[str]:
    """Return up to 10 ids of runs that begin with a prefix, unfinished and unsealed ones first.

    Files are searched for the 31 days from the instant that the prefix names, or else for
    the last 31: a run that ended later than that is found by its whole id in `frame`.

    Raises:
        StoreError: there is no such home, or a file or the database is damaged.
    """
    found = open_home(home)
    if not prefix or not storable(prefix):
        return []
    # As in `_pending`, the database first.
    ids = dict.fromkeys(consult(found, state_url, lambda c: _unsealed_ids(c, prefix)) or [])
    for day in _days(found, prefix):
        if len(ids) >= MOST_RESOLVED:
            break
        ids |= dict.fromkeys(_sealed_ids(found, day, prefix))
    if len(ids) >= MOST_RESOLVED and prefix not in ids:
        # A whole id begins those of the others of its request, which have filled the list.
        whole = any(_sealed_ids(found, day, prefix, whole=True) for day in _days(found, prefix))
        ids = {prefix: None, **ids} if whole else ids
    return list(islice(ids, MOST_RESOLVED))


def _is(row: dict[str, Any], column: str, names: Names | None) -> bool:
    return names is None or row.get(column) in ([names] if isinstance(names, str) else names)


def _unsealed_ids(connection: Connection, prefix: str) -> list[str]:
    # A range and not LIKE: no wildcards to escape, and upper case stays upper case.
    live, over = runs.c.run_id, outbox.c.run_id
    found = union_all(
        select(live).where(live >= prefix, live < _end(prefix)),
        select(over).where(over >= prefix, over < _end(prefix), outbox.c.dataset == "runs"),
    )
    return list(connection.execute(found.order_by("run_id").limit(MOST_RESOLVED)).scalars())


def _end(prefix: str) -> str:
    """The text before which all texts with a prefix are in order."""
    return prefix + "\U0010ffff"


def _days(home: Home, prefix: str) -> list[date]:
    """The folders to search, the likeliest first."""
    with storing("the history folder runs cannot be listed."):
        days = layout.days(home, "runs")
    named = _INSTANT.search(prefix)
    try:
        first = date.fromisoformat(named[1]) if named else None
        if first:  # a run ends on the day of its instant or soon after
            return [day for day in days if first <= day < first + timedelta(days=_DAYS)]
    except (ValueError, OverflowError):
        return []  # there is no 30th of February, and no run on it
    newest = max(days, default=date.min)
    return [day for day in reversed(days) if (newest - day).days < _DAYS]


def _sealed_ids(home: Home, day: date, prefix: str, *, whole: bool = False) -> list[str]:
    run_id = pc.field("run_id")
    wanted = (run_id >= prefix) & (run_id < _end(prefix)) & pc.starts_with(run_id, prefix)
    wanted = run_id == prefix if whole else wanted
    schema = pa.schema([("run_id", pa.string())])
    for _ in range(_TRIES):
        paths = [home.path(rel) for rel in layout.files(home, "runs", day)]
        if not paths:
            return []
        try:
            with parquet.reading(home.path(layout.folder("runs", day))):
                files = ds.dataset(
                    paths, schema=schema, format=parquet.VERIFIED, filesystem=home.fs
                )
                return list(files.head(MOST_RESOLVED, filter=wanted).column("run_id").to_pylist())
        except StoreError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            # Rolled up since the listing: its rows have a new file.
    raise StoreError(f"the files in {home.path('runs')} keep vanishing while they are read.")
