"""The history a batch at a time, for what is larger than memory: each row once.

Law: as `reader`, but a day's files are opened together before the first of its rows
is given, so that a roll-up in between neither loses nor doubles one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from raysched.errors import StoreError
from raysched.store import layout, parquet, reader
from raysched.store.home import Home, storing
from raysched.store.schema import KEYS, conform, schema_of

_ROWS = 16 * 1024
_LISTINGS = 10


def batches(
    home: Home,
    dataset: str,
    *,
    unsealed: pa.Table | None = None,
    since: datetime | None = None,
    **filters: Any,
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a dataset, by day of their files, then those that no file holds.

    The filters are those of `reader.read`.

    `unsealed` is taken before, and means what it does for `reader.read`.

    Raises:
        InputError: there is no such dataset, or it has no status.
        StoreError: a file is damaged, or vanished while it was read.
    """
    schema = schema_of(dataset)
    pending = conform(dataset, schema.empty_table() if unsealed is None else unsealed)
    wanted = reader.wanted(dataset, pending, since=since, **filters)
    seen = _Seen(dataset, pending)
    with storing(f"the history in {home.path(dataset)} cannot be listed."):
        days = [day for day in layout.days(home, dataset) if day >= reader.first_day(since)]
    for day in days:
        for batch in _of_day(home, dataset, day, wanted.pushed):
            seen.note(batch)
            yield from _matching(batch, wanted.rows)
    for batch in seen.left().to_batches(max_chunksize=_ROWS):
        yield from _matching(batch, wanted.rows)


def _matching(batch: pa.RecordBatch, wanted: pc.Expression | None) -> Iterator[pa.RecordBatch]:
    found = batch if wanted is None else batch.filter(wanted)
    if found.num_rows:
        yield found


class _Seen:
    """Which of the database's rows a file turned out to hold: the file's is the one that counts."""

    def __init__(self, dataset: str, pending: pa.Table) -> None:
        self._keys = list(KEYS[dataset])
        self._pending = pending
        self._firsts = pc.unique(pending.column(self._keys[0]).combine_chunks())
        self._waiting = set(zip(*(pending.column(k).to_pylist() for k in self._keys), strict=True))

    def note(self, batch: pa.RecordBatch) -> None:
        """Strike off what a file holds."""
        if not self._waiting:
            return
        first = self._keys[0]
        near = batch.filter(pc.is_in(batch.column(first), value_set=self._firsts))
        columns = (near.column(key).to_pylist() for key in self._keys)
        self._waiting.difference_update(zip(*columns, strict=True))

    def left(self) -> pa.Table:
        """Return the rows that no file holds."""
        columns = (self._pending.column(key).to_pylist() for key in self._keys)
        keep = [key in self._waiting for key in zip(*columns, strict=True)]
        return self._pending.filter(pa.array(keep, pa.bool_()))


def _of_day(
    home: Home, dataset: str, day: date, wanted: pc.Expression | None
) -> Iterator[pa.RecordBatch]:
    schema = schema_of(dataset)
    with ExitStack() as stack:
        for path, file in _opened(home, dataset, day, stack):
            with parquet.reading(path):
                fragment = parquet.VERIFIED.make_fragment(file)
                yield from fragment.to_batches(
                    schema=schema,
                    filter=wanted,
                    batch_size=_ROWS,
                    batch_readahead=1,
                    use_threads=False,
                )


def _opened(home: Home, dataset: str, day: date, stack: ExitStack) -> list[tuple[str, Any]]:
    """Return a day's files, all open: what a roll-up removes from now on can still be read."""
    for _ in range(_LISTINGS):
        paths = [home.path(rel) for rel in layout.files(home, dataset, day)]
        try:
            return [(path, stack.enter_context(home.fs.open_input_file(path))) for path in paths]
        except FileNotFoundError:
            stack.close()
        except OSError as error:
            raise StoreError(f"{home.path(dataset)} cannot be read.", why=str(error)) from error
    raise StoreError(f"the files in {home.path(dataset)} keep vanishing while they are read.")
