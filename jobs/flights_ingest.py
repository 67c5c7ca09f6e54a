"""All flights of 2013, from the package's CSV into Parquet files by month."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import _nycflights as nyc
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import raysched as rs


@rs.job(
    schedule="0 5 * * *",
    timezone="America/New_York",
    memory="512MiB",
    retries=rs.Retry(2, delay="1m"),
    timeout="15m",
    tags=["flights", "etl"],
)
def flights_ingest(data: str = "") -> pd.DataFrame:
    """Write all flights below `data`/flights/month=…/, and return one row a month.

    Running it again is harmless: a month that was made from the same source is left
    as it is, and any other is replaced as a whole.
    """
    with zipfile.ZipFile(nyc.source(nyc.FLIGHTS)) as archive:
        made_from = str(archive.getinfo("flights.csv").CRC)
    flights, written = None, []
    for month in range(1, 13):
        file = nyc.month_file(month, data)
        fresh = file.exists() and _made_from(file) == made_from
        if not fresh:
            flights = nyc.all_flights() if flights is None else flights
            _write(flights.filter(pc.equal(flights["month"], month)), file, made_from)
        rows, size = pq.read_metadata(file).num_rows, file.stat().st_size
        written.append({"month": month, "rows": rows, "bytes": size, "written": not fresh})
        print(f"month {month:2}: {rows:,} flights {'were there' if fresh else 'written'}")
        rs.current().progress(month, 12)
    result = pd.DataFrame(written)
    rs.current().metric("rows", int(result["rows"].sum()))
    rs.current().metric("months_written", int(result["written"].sum()))
    return result


def _made_from(file: Path) -> str:
    notes: dict[bytes, bytes] = pq.read_schema(file).metadata or {}
    return notes.get(b"made_from", b"").decode()


def _write(table: pa.Table, file: Path, made_from: str) -> None:
    """Write a file that appears whole or not at all, without the column that its folder names."""
    file.parent.mkdir(parents=True, exist_ok=True)
    hidden = file.with_name(f".{file.name}.{os.getpid()}")
    table = table.drop_columns(["month"])
    pq.write_table(
        table.replace_schema_metadata({"made_from": made_from}), hidden, compression="zstd"
    )
    hidden.replace(file)
