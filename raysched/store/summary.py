"""What a home's history comes to: rows, files, days and bytes of each dataset.

Law: footers are read, no rows, so that it is quick however long the history is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pyarrow import fs as pafs

from raysched.store import layout, parquet
from raysched.store.home import Home, open_home, storing
from raysched.store.results import PARTIAL, RESULTS
from raysched.store.schema import DATASETS


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What the files of one dataset hold; `rows` of what jobs leave are not counted."""

    dataset: str
    rows: int | None
    files: int
    bytes: int
    first_day: date | None = None
    last_day: date | None = None


def summary(home: str | Path | Home) -> list[Summary]:
    """Return what each dataset's files hold; results, and partial ones, at the end.

    Raises:
        StoreError: there is no such home, or a file is damaged.
    """
    found = open_home(home)
    left = (_left(found, folder) for folder in (RESULTS, PARTIAL))
    return [*(_dataset(found, name) for name in DATASETS), *left]


def _dataset(home: Home, name: str) -> Summary:
    with storing(f"the history in {home.path(name)} cannot be listed."):
        days = layout.days(home, name)
        files = {day: layout.files(home, name, day) for day in days}
    each = [rel for rels in files.values() for rel in rels]
    full = [day for day in days if files[day]]
    return Summary(
        dataset=name,
        rows=sum(parquet.footer(home, rel).num_rows for rel in each),
        files=len(each),
        bytes=sum(info.size or 0 for info in home.fs.get_file_info([home.path(e) for e in each])),
        first_day=min(full, default=None),
        last_day=max(full, default=None),
    )


def _left(home: Home, folder: str) -> Summary:
    where = pafs.FileSelector(home.path(folder), recursive=True, allow_not_found=True)
    with storing(f"the files in {home.path(folder)} cannot be listed."):
        infos = [
            info
            for info in home.fs.get_file_info(where)
            if info.is_file and info.base_name[0] not in "._"
        ]
    return Summary(
        dataset=folder, rows=None, files=len(infos), bytes=sum(info.size or 0 for info in infos)
    )
