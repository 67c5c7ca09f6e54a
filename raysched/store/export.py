"""One file of the history for elsewhere: Parquet, CSV or JSON lines, by its suffix.

Law: one batch is held at a time, and the file appears whole or not at all. It may hold
secrets, as logs and parameters do, so that it is its maker's alone to read.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv

from raysched.errors import Conflict, InputError, StoreError
from raysched.spec.units import iso
from raysched.store import parquet
from raysched.store.home.local import sync_folder

Batches = Iterable[pa.RecordBatch]
Form = Callable[[Any, pa.Schema, Batches], int]
"""Writes all batches to an open file, and returns the rows."""


def write(path: Path, schema: pa.Schema, batches: Batches, *, force: bool) -> int:
    """Write batches as one file, and return the rows; `force` replaces what is there.

    Raises:
        InputError: the suffix names no format, or the folder is not there.
        Conflict: the file is there already.
        StoreError: the file cannot be written.
    """
    check(path, force=force)
    temp = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        rows = _fill(temp, FORMATS[path.suffix], schema, batches)
        _place(temp, path, force=force)
    except OSError as error:
        raise StoreError(f"{path} cannot be written.", why=str(error)) from error
    finally:
        with suppress(FileNotFoundError):
            temp.unlink()
    return rows


def check(path: Path, *, force: bool) -> None:
    """Refuse a file that could not be written, before anything is read for it.

    Raises:
        InputError: the suffix names no format, or the folder is not there.
        Conflict: the file is there already.
    """
    if path.suffix not in FORMATS:
        raise InputError(
            f"{path.name!r} says no format that is known.",
            why=f"the suffix {path.suffix!r} decides it.",
            fix=f"end the name in {', '.join(FORMATS)}.",
        )
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent}.", fix="make it, or name another.")
    if path.is_dir() or (path.exists() and not force):
        raise _taken(path)


def _taken(path: Path) -> Conflict:
    return Conflict(
        f"{path} is there already.",
        why="an export replaces nothing unless told to.",
        fix="name another file, or add --force.",
    )


def _fill(temp: Path, form: Form, schema: pa.Schema, batches: Batches) -> int:
    descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        rows = form(file, schema, batches)
        file.flush()
        os.fsync(file.fileno())
    return rows


def _place(temp: Path, path: Path, *, force: bool) -> None:
    if force:
        os.replace(temp, path)
    else:
        try:
            os.link(temp, path)  # refuses a file that has come meanwhile
        except FileExistsError:
            raise _taken(path) from None
        except OSError:  # a file system without links
            os.replace(temp, path)
    sync_folder(str(path.parent))


def _parquet(file: Any, schema: pa.Schema, batches: Batches) -> int:
    return parquet.write(file, schema, (pa.Table.from_batches([each]) for each in batches))


def _csv(file: Any, schema: pa.Schema, batches: Batches) -> int:
    flat = pa.schema(
        [(f.name, pa.string() if pa.types.is_list(f.type) else f.type) for f in schema]
    )
    rows = 0
    with csv.CSVWriter(file, flat) as writer:
        for batch in batches:
            writer.write_batch(_flat(batch, flat))
            rows += batch.num_rows
    return rows


def _flat(batch: pa.RecordBatch, flat: pa.Schema) -> pa.RecordBatch:
    """Return a batch with its lists as JSON, for CSV has none."""
    columns = [
        pa.array([None if v is None else _json(v) for v in column.to_pylist()], pa.string())
        if pa.types.is_list(column.type)
        else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, schema=flat)


def _json_lines(file: Any, schema: pa.Schema, batches: Batches) -> int:
    rows = 0
    for batch in batches:
        file.writelines(f"{_json(row)}\n".encode() for row in batch.to_pylist())
        rows += batch.num_rows
    return rows


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=_instant)


def _instant(value: object) -> str:
    assert isinstance(value, datetime)
    return iso(value)


FORMATS: dict[str, Form] = {
    ".parquet": _parquet,
    ".csv": _csv,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
}
