"""Reading the history: pruned, filtered, verified, each row once.

Law: reads only, needs no scheduler, and is never silently wrong: a damaged file
is an error that names it. Whatever a caller asks for is a value in a filter,
never part of a path.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from datetime import date, datetime, timedelta
from functools import reduce
from operator import and_
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import dataset as ds

from raysched.core.states import State
from raysched.errors import InputError, StoreError
from raysched.spec.parameters import closest
from raysched.spec.units import from_us, shown, to_us
from raysched.store import layout, parquet
from raysched.store.home import Home, open_home, storing
from raysched.store.schema import INSTANT, KEYS, TIME, conform, schema_of

if TYPE_CHECKING:
    import pandas as pd

# A row's folder is named by its end, which is later than its beginning, except that
# two machines wrote the two down and their clocks may differ by so much.
_CLOCK_SKEW = timedelta(hours=1)

# Each retry means that a roll-up came between a listing and an opening.
_LISTINGS = 10

Names = str | Collection[str]
Slots = tuple[datetime, datetime]


def read(
    home: str | Path | Home,
    dataset: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    job: Names | None = None,
    status: Names | None = None,
    run_id: Names | None = None,
    slots: Slots | None = None,
    unsealed: pa.Table | None = None,
) -> pa.Table:
    """The rows of a dataset, each once: those in files and those of `unsealed`.

    `since` (inclusive) and `until` (exclusive) bound created_at of runs, started_at
    of attempts (their end, if they never started), decided_at of decisions and ts
    of logs. Only `since` saves opening older files. `slots` are the first slot of runs and
    decisions, and the one before which they end.

    Take `unsealed` from the database *before* calling: rows move from there into
    files, so that in this order none is missed, and one seen twice is kept once. A
    finished row wins over an unfinished one, then the file's over the database's.

    Raises:
        InputError: there is no such dataset or status, it has no status, or a bound has no zone.
        StoreError: there is no such home, or a file is damaged; it names the file.
    """
    found = open_home(home)
    fixed, changing = _filters(
        dataset, since=since, until=until, job=job, status=status, run_id=run_id, slots=slots
    )
    pending = None if unsealed is None else conform(dataset, unsealed)
    table = _scan(found, dataset, first_day(since), _pushed(fixed, changing, pending))
    if pending is None or not pending.num_rows:
        return once(dataset, table, table.num_rows)
    merged = once(dataset, pa.concat_tables([table, pending]), table.num_rows)
    wanted = _all(fixed if changing is None else [*fixed, changing])
    return merged if wanted is None else merged.filter(wanted)


def to_frame(table: pa.Table) -> pd.DataFrame:
    """A table of `read` as an ordinary DataFrame, sorted by time.

    Instants are datetime64[us, UTC], text is `str`, whole numbers are `Int64` and truths
    `boolean`, whether or not one is missing, so that dtypes never depend on the data.
    """
    import pandas as pd

    for dataset, time in TIME.items():
        keys = KEYS[dataset]
        if time in table.column_names and set(keys) <= set(table.column_names):
            order = [(name, "ascending") for name in dict.fromkeys((time, *keys))]
            table = table.sort_by(order)
            break
    nullable = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    frame: pd.DataFrame = table.to_pandas(types_mapper=nullable.get)
    return frame


class Wanted(NamedTuple):
    """The filters that a question means, None for none: `pushed` is that of its files.

    It lets through what `rows` must see to know that the database's row is outdated.
    """

    rows: pc.Expression | None
    pushed: pc.Expression | None


def wanted(
    dataset: str,
    pending: pa.Table,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    job: Names | None = None,
    status: Names | None = None,
    run_id: Names | None = None,
) -> Wanted:
    """Return the filters that these mean for a dataset, whose rows in the database are `pending`.

    Raises:
        InputError: there is no such dataset or status, it has no status, or a bound has no zone.
    """
    fixed, changing = _filters(
        dataset, since=since, until=until, job=job, status=status, run_id=run_id
    )
    rows = _all(fixed if changing is None else [*fixed, changing])
    return Wanted(rows, _pushed(fixed, changing, pending))


def first_day(since: datetime | None) -> date:
    """Return the first day whose files can hold a row from an instant on."""
    if since is None:
        return date.min
    try:
        return (from_us(to_us(since)) - _CLOCK_SKEW).date()
    except OverflowError:
        return date.min


def _filters(
    dataset: str,
    *,
    since: datetime | None,
    until: datetime | None,
    job: Names | None,
    status: Names | None,
    run_id: Names | None,
    slots: Slots | None = None,
) -> tuple[list[pc.Expression], pc.Expression | None]:
    """What never changes in a row's life, and what does."""
    fixed = []
    for column, names in (("job", job), ("run_id", run_id)):
        if names is not None:
            fixed.append(_is(column, names))
    if slots is not None:
        first, end = (_instant(bound) for bound in slots)
        fixed.append((pc.field("slot") >= first) & (pc.field("slot") < end))
    if since is not None:
        fixed.append(_time(dataset, lambda at: at >= _instant(since)))
    if until is not None:
        fixed.append(_time(dataset, lambda at: at < _instant(until)))
    if status is None:
        return fixed, None
    if "status" not in schema_of(dataset).names:
        raise InputError(
            f"{dataset} have no status.", fix="filter runs or attempts by status, or leave it out."
        )
    for name in [status] if isinstance(status, str) else status:
        if name not in tuple(State):
            raise InputError(
                f"{shown(name)} is no status.",
                why=f"there are {', '.join(State)}.",
                fix=closest(name, [str(state) for state in State]) or "write one of those.",
            )
    return fixed, _is("status", status)


def _pushed(
    fixed: list[pc.Expression], changing: pc.Expression | None, pending: pa.Table | None
) -> pc.Expression | None:
    if changing is None:
        return _all(fixed)
    if pending is not None and pending.num_rows:
        # The file's row must be seen even where only the database's outdated one has the
        # status asked for: it is the file's row that counts.
        changing |= pc.field("run_id").isin(pending.column("run_id").unique())
    return _all([*fixed, changing])


def _is(column: str, names: Names) -> pc.Expression:
    values = [names] if isinstance(names, str) else list(names)
    return pc.field(column).isin(pa.array(values, pa.string()))


def _time(dataset: str, test: Callable[[pc.Expression], pc.Expression]) -> pc.Expression:
    at = pc.field(TIME[dataset])
    if dataset != "attempts":
        return test(at)
    return test(at) | (at.is_null() & test(pc.field("finished_at")))


def _instant(bound: datetime) -> pa.Scalar:
    if bound.utcoffset() is None:
        raise InputError(f"{bound!r} has no time zone.", fix="give an aware datetime.")
    return pa.scalar(to_us(bound), pa.int64()).cast(INSTANT)


def _all(filters: list[pc.Expression]) -> pc.Expression | None:
    return reduce(and_, filters) if filters else None


def _scan(home: Home, dataset: str, first: date, wanted: pc.Expression | None) -> pa.Table:
    """Read the files of all days from the first on."""
    for _ in range(_LISTINGS):
        with storing(f"the history in {home.path(dataset)} cannot be listed."):
            paths = [
                home.path(rel)
                for day in layout.days(home, dataset)
                if day >= first
                for rel in layout.files(home, dataset, day)
            ]
        if not paths:
            return schema_of(dataset).empty_table()
        try:
            return _load(home, dataset, paths, wanted)
        except FileNotFoundError:
            continue  # rolled up since the listing: its rows have a new file
        except (pa.ArrowException, OSError) as error:
            try:
                _name_the_damaged(home, dataset, paths, wanted)
            except FileNotFoundError:
                continue
            raise StoreError(  # no single file fails: a disk or a network that does, then
                f"the history in {home.path(dataset)} cannot be read.", why=str(error)
            ) from error
    raise StoreError(
        f"the files in {home.path(dataset)} keep vanishing while they are read.",
        fix="read again; if it stays so, see what else removes files there.",
    )


def _load(home: Home, dataset: str, paths: list[str], wanted: pc.Expression | None) -> pa.Table:
    files = ds.dataset(
        paths, schema=schema_of(dataset), format=parquet.VERIFIED, filesystem=home.fs
    )
    return files.to_table(filter=wanted)


def _name_the_damaged(
    home: Home, dataset: str, paths: Iterable[str], wanted: pc.Expression | None
) -> None:
    """Find the file by which a scan failed: Arrow's own message may not say."""
    for path in paths:
        try:
            _load(home, dataset, [path], wanted)
        except FileNotFoundError:
            raise
        except (pa.ArrowException, OSError) as error:
            with parquet.reading(path):
                raise error


def once(dataset: str, table: pa.Table, sealed: int) -> pa.Table:
    """Each key once; of the rows with one key, the best. The first `sealed` rows are files'."""
    keys = list(KEYS[dataset])
    rank = np.zeros(table.num_rows, np.int64)
    rank[sealed:] = 1
    if "finished_at" in table.column_names:
        rank += 2 * table.column("finished_at").is_null().to_numpy()
    # One number says both how good a row is and which one it is.
    order = rank * table.num_rows + np.arange(table.num_rows)
    best = (
        table.select(keys)
        .append_column("_order", pa.array(order))
        .group_by(keys)
        .aggregate([("_order", "min")])
        .column("_order_min")
    )
    if len(best) == table.num_rows:
        return table
    keep = np.zeros(table.num_rows, bool)
    keep[best.to_numpy() % table.num_rows] = True
    return table.filter(pa.array(keep))
