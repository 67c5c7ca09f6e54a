"""Reads the Parquet files that a container left as one table; they may hold anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyarrow import ArrowException, RecordBatchReader, dataset, parquet

from raysched.errors import UnsupportedResult


def table(files: Sequence[Path]) -> RecordBatchReader:
    """Return a reader of files that are one table.

    Raises:
        UnsupportedResult: one is no Parquet, or has other columns than the first, which
            reading them together would leave out.
    """
    schema = _schema(files)
    found = dataset.dataset([str(file) for file in files], schema=schema, format="parquet")
    return found.scanner().to_reader()


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
