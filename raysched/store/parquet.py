"""How every Parquet file of a home is written and read.

Law: zstd and page checksums on the way in, the checksums verified on the way
out, memory bounded by one row group both ways. Facts about rows and folders
are elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
from pyarrow import dataset as ds
from pyarrow import parquet as pq

from raysched.errors import StoreError
from raysched.store.home import Home

# A row group: large enough to scan fast, small enough to hold.
_GROUP_ROWS = 128 * 1024
_GROUP_BYTES = 64 * 1024 * 1024

#: The file format with verification on; plain readers may leave it off.
VERIFIED = ds.ParquetFileFormat(
    default_fragment_scan_options=ds.ParquetFragmentScanOptions(page_checksum_verification=True)
)


def writer(sink: Any, schema: pa.Schema) -> pq.ParquetWriter:
    """A Parquet writer with this project's settings.

    Raises:
        pyarrow.ArrowException: Parquet has no form for one of the types.
    """
    return pq.ParquetWriter(sink, schema, compression="zstd", write_page_checksum=True)


def write(
    sink: Any,
    schema: pa.Schema,
    tables: Iterable[pa.Table],
    metadata: Mapping[str, str] | None = None,
) -> int:
    """Write tables as one file, holding at most one row group; returns the rows.

    `metadata` goes to the footer alone, not into the schema.
    """
    rows = 0
    with writer(sink, schema) as file:
        for group in _row_groups(tables):
            file.write_table(group, row_group_size=_GROUP_ROWS)
            rows += group.num_rows
        if metadata:
            file.add_key_value_metadata(dict(metadata))
    return rows


def _row_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    rows = size = 0
    for table in tables:
        held.append(table)
        rows += table.num_rows
        size += table.nbytes
        if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
            yield pa.concat_tables(held)
            held, rows, size = [], 0, 0
    if rows:
        yield pa.concat_tables(held)


def read(home: Home, rel: str, schema: pa.Schema | None = None) -> pa.Table:
    """A whole file, verified; `schema` adds the columns that an older file lacks.

    Raises:
        StoreError: the file is not there, is truncated or has a flipped byte.
    """
    with reading(home.path(rel)):
        dataset = ds.dataset([home.path(rel)], schema=schema, format=VERIFIED, filesystem=home.fs)
        return dataset.to_table()


def footer(home: Home, rel: str) -> pq.FileMetaData:
    """A file's footer. Raises: StoreError."""
    with reading(home.path(rel)), home.fs.open_input_file(home.path(rel)) as file:
        return pq.read_metadata(file)


class reading:  # noqa: N801  # reads as a statement: `with reading(path):`
    """Turn what Arrow says of a damaged file into a StoreError that names it."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, (pa.ArrowException, OSError)):
            raise StoreError(
                f"the file {self._path} cannot be read.",
                why=str(error),
                fix="move it out of the home and restore it from a backup; "
                "every other file stays readable.",
            ) from error
