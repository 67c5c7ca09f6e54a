"""The columns of the history, and how a row becomes Arrow.

Law: a schema only ever grows, at its end, by nullable columns. A row is a plain
dict that JSON can carry, its instants whole microseconds since 1970 in UTC.
No files here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import pyarrow as pa

from raysched.errors import InputError, StoreError
from raysched.spec.units import from_us

INSTANT = pa.timestamp("us", "UTC")
_TEXT, _INT, _REAL = pa.string(), pa.int64(), pa.float64()


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema(list(columns.items()))


DATASETS: dict[str, pa.Schema] = {
    "runs": _schema(
        run_id=_TEXT,
        job=_TEXT,
        version=_TEXT,
        slot=INSTANT,
        trigger=_TEXT,
        status=_TEXT,
        reason=_TEXT,
        attempts=_INT,
        created_at=INSTANT,
        queued_at=INSTANT,
        started_at=INSTANT,
        finished_at=INSTANT,
        duration_s=_REAL,
        lag_s=_REAL,
        node_id=_TEXT,
        node_ip=_TEXT,
        num_cpus=_REAL,
        num_gpus=_REAL,
        memory_bytes=_INT,
        peak_memory_bytes=_INT,
        cpu_time_s=_REAL,
        exit_code=_INT,
        error_type=_TEXT,
        error_message=_TEXT,
        params=_TEXT,  # JSON
        result_kind=_TEXT,
        result_json=_TEXT,  # JSON
        result_rows=_INT,
        result_path=_TEXT,
        image=_TEXT,
        tags=pa.list_(_TEXT),
        timezone=_TEXT,  # the schedule's zone by name: an instant in UTC has lost it
        metrics=_TEXT,  # JSON: what the job reported by metric()
        origin=_TEXT,  # the run that this one repeats
        oom_killed=pa.bool_(),  # whether a process of a container was killed for lack of memory
        backfill=_TEXT,  # what the runs of one backfill share
        partial_path=_TEXT,  # the last attempt's
    ),
    "attempts": _schema(
        run_id=_TEXT,
        job=_TEXT,
        attempt=_INT,
        status=_TEXT,
        reason=_TEXT,
        started_at=INSTANT,
        finished_at=INSTANT,
        duration_s=_REAL,
        node_id=_TEXT,
        node_ip=_TEXT,
        worker_pid=_INT,
        num_cpus=_REAL,
        num_gpus=_REAL,
        memory_bytes=_INT,
        peak_memory_bytes=_INT,
        cpu_time_s=_REAL,
        exit_code=_INT,
        error_type=_TEXT,
        error_message=_TEXT,
        traceback=_TEXT,
        epoch=_INT,
        log_lines=_INT,
        image=_TEXT,
        oom_killed=pa.bool_(),
        partial_path=_TEXT,  # the notebook of a failed attempt, as far as it came
    ),
    "decisions": _schema(
        job=_TEXT,
        slot=INSTANT,
        decision=_TEXT,
        reason=_TEXT,
        run_id=_TEXT,
        decided_at=INSTANT,
        schedule=_TEXT,
        policy=_TEXT,
        last_slot=INSTANT,  # a long downtime is one row, slot..last_slot inclusive; else = slot
        cause=_TEXT,
    ),
    "logs": _schema(
        run_id=_TEXT,
        job=_TEXT,
        attempt=_INT,
        ts=INSTANT,
        stream=_TEXT,
        line_no=_INT,
        line=_TEXT,
        node_ip=_TEXT,
    ),
}

#: What makes a row one row. Never null.
KEYS: dict[str, tuple[str, ...]] = {
    "runs": ("run_id",),
    "attempts": ("run_id", "attempt"),
    "decisions": ("job", "slot"),
    "logs": ("run_id", "attempt", "line_no"),
}

#: The instant that `since` and `until` speak of, and frames are sorted by.
TIME: dict[str, str] = {
    "runs": "created_at",
    "attempts": "started_at",
    "decisions": "decided_at",
    "logs": "ts",
}

#: The instant whose UTC date is a row's folder. Logs are not listed: theirs is the
#: day on which the scheduler took the lines in, which no column tells.
FOLDER_TIME: dict[str, str] = {
    "runs": "finished_at",
    "attempts": "finished_at",
    "decisions": "decided_at",
}


def schema_of(dataset: str) -> pa.Schema:
    """The schema of a dataset.

    Raises:
        InputError: there is no such dataset.
    """
    try:
        return DATASETS[dataset]
    except KeyError:
        raise InputError(
            f"there is no dataset {dataset!r}.", fix=f"choose one of {', '.join(DATASETS)}."
        ) from None


def by_day(dataset: str, rows: Iterable[Mapping[str, Any]]) -> dict[date, list[Mapping[str, Any]]]:
    """Rows of runs, attempts or decisions by the day whose folder they belong in.

    Raises:
        StoreError: a row has not ended, so that it belongs in no file yet.
    """
    column = FOLDER_TIME[dataset]
    days: dict[date, list[Mapping[str, Any]]] = {}
    for row in rows:
        value = row.get(column)
        if value is None:
            raise StoreError(f"a row of {dataset} has no {column}.", why=_key_text(dataset, row))
        days.setdefault(from_us(value).date(), []).append(row)
    return days


def to_table(dataset: str, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows as an Arrow table with the dataset's whole schema; a missing key is null.

    Raises:
        StoreError: a row has a key that is no column, lacks one that identifies
            it, or a value does not fit its column exactly.
    """
    schema = schema_of(dataset)
    names = frozenset(schema.names)
    for row in rows:
        if not row.keys() <= names:
            unknown = ", ".join(sorted(map(repr, row.keys() - names)))
            raise StoreError(f"{dataset} has no column {unknown}.", why=_key_text(dataset, row))
    columns = []
    for field in schema:
        name = field.name
        column = _column(dataset, field, [row.get(name) for row in rows])
        if column.null_count and name in KEYS[dataset]:
            raise StoreError(f"a row of {dataset} has no {name}, which identifies it.")
        columns.append(column)
    return pa.Table.from_arrays(columns, schema=schema)


def conform(dataset: str, table: pa.Table) -> pa.Table:
    """A table of a dataset with exactly its schema.

    Raises:
        StoreError: it has other columns or types.
    """
    schema = schema_of(dataset)
    if not table.schema.equals(schema):
        raise StoreError(
            f"the table is not one of {dataset}.",
            why=f"its columns are {', '.join(map(str, table.schema))}"[:500],
        )
    return table.replace_schema_metadata(None)


def _column(
    dataset: str, field: pa.Field, values: list[Any]
) -> pa.Array | pa.ChunkedArray:  # chunked when a column of text exceeds 2 GiB
    try:
        if field.type in (_INT, INSTANT):
            # Asked for int64 at once, Arrow would cut 1.9 down to 1 without a word.
            inferred = pa.array(values)
            if not pa.types.is_null(inferred.type) and not pa.types.is_integer(inferred.type):
                raise TypeError(f"expected whole numbers, got {inferred.type}")
            return inferred.cast(_INT).cast(field.type)
        return pa.array(values, field.type)
    except UnicodeEncodeError:
        # An error message with half a surrogate pair must not keep a run out of the
        # history for ever: it is shown escaped instead.
        return pa.array([_encodable(value) for value in values], field.type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise StoreError(
            f"{dataset}.{field.name} holds a value that is no {field.type}.", why=str(error)
        ) from error


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return [_encodable(item) for item in value] if isinstance(value, list) else value


def _key_text(dataset: str, row: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} = {row.get(key)!r}" for key in KEYS[dataset])
