"""Reads the Parquet files that a container left as one table; they may hold anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pyarrow import ArrowException, RecordBatch, RecordBatchReader, parquet

from raysched.errors import UnsupportedResult

_BATCH_ROWS = 16 * 1024
_BUFFER_BYTES = 1024 * 1024


def table(files: Sequence[Path]) -> RecordBatchReader:
    """Return a reader of files that are one table.

    Raises:
        UnsupportedResult: one is no Parquet, or has other columns than the first, which
            reading them together would leave out.
    """
    schema = _schema(files)
    return RecordBatchReader.from_batches(schema, _batches(files, schema))


def _batches(files: Sequence[Path], schema: Any) -> Iterator[RecordBatch]:
    """Yield what the files hold, little by little, however large their row groups are."""
    for file in files:
        with parquet.ParquetFile(file, buffer_size=_BUFFER_BYTES) as found:
            for batch in found.iter_batches(_BATCH_ROWS):
                yield RecordBatch.from_arrays(batch.columns, schema=schema)


def _schema(files: Sequence[Path]) -> Any:
    first = None
    for file in files:
        try:
            schema = parquet.read_schema(file)
        except (ArrowException, OSError) as error:
            raise UnsupportedResult(
                f"{file.name[:100]!r} is no Parquet file.",
                why=str(error).splitlines()[0][:300],
                fix="write it whole, or give what is no result another name.",
            ) from error
        first = schema if first is None else first
        if not schema.equals(first):
            raise UnsupportedResult(
                f"{file.name[:100]!r} has other columns than {files[0].name[:100]!r}.",
                why=f"{_columns(schema)} are not {_columns(first)}.",
                fix="write files of the same columns, in the same order and of the same types.",
            )
    return first


def _columns(schema: Any) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema)[:200]
