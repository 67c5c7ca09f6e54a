"""Where the history's files lie: `<dataset>/date=YYYY-MM-DD/<name>.parquet`.

Law: names only, no rows. A merged file carries the names of the files that it
replaced in its footer, through every further merge, so that a name once written
is known for ever.
"""

from __future__ import annotations

import json
import re
from datetime import date

from raysched.errors import StoreError
from raysched.store import parquet
from raysched.store.home import Home

SOURCES = "raysched.sources"  # the footer's key: a JSON list of names
_DAY = re.compile(r"date=(\d{4}-\d{2}-\d{2})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,149}", re.ASCII)


def folder(dataset: str, day: date) -> str:
    """The folder of a day."""
    return f"{dataset}/date={day.isoformat()}"


def check_name(name: str) -> str:
    """A name that a caller may give a file.

    Raises:
        StoreError: it could mean another path, or be hidden from readers.
    """
    if not _NAME.fullmatch(name):
        raise StoreError(
            f"{name!r} cannot name a history file.",
            fix="use up to 150 letters, digits and any of '._+-', a letter or digit first.",
        )
    return name


def days(home: Home, dataset: str) -> list[date]:
    """The days of which there is a folder, in order."""
    found = []
    for name, inner in home.names(dataset).items():
        if inner and (match := _DAY.fullmatch(name)):
            try:
                found.append(date.fromisoformat(match[1]))
            except ValueError:
                continue  # 2026-02-30 is somebody else's folder
    return found


def files(home: Home, dataset: str, day: date) -> list[str]:
    """The Parquet files of a day, relative to the home, in order."""
    place = folder(dataset, day)
    return [
        f"{place}/{name}"
        for name, inner in home.names(place).items()
        if not inner and is_data(name)
    ]


def is_data(name: str) -> bool:
    """Whether a file is one that readers see."""
    return name.endswith(".parquet") and name[0] not in "._"


def sources(home: Home, rel: str) -> frozenset[str]:
    """The names whose rows a file holds: its own, or those that it replaced.

    Raises:
        StoreError: the file cannot be read.
    """
    metadata = parquet.footer(home, rel).metadata or {}
    listed = metadata.get(SOURCES.encode())
    if listed is None:
        return frozenset({own_name(rel)})
    with parquet.reading(home.path(rel)):
        return frozenset(json.loads(listed))


def own_name(rel: str) -> str:
    """The name under which a file was written, from its path."""
    return rel.rpartition("/")[2].removesuffix(".parquet")
