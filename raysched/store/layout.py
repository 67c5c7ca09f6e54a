"""Where the history's files lie: `<dataset>/date=YYYY-MM-DD/<name>.parquet`.

Law: names only, no rows. A merged file carries the names of the files that it
replaced in its footer, through every further merge, so that a name once written
is known for ever.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from datetime import date

from raysched.errors import StoreError
from raysched.store import parquet
from raysched.store.home import Home

SOURCES = "raysched.sources"  # the footer's key: a JSON list of names
_MERGED = "merged-"
_DAY = re.compile(r"date=(\d{4}-\d{2}-\d{2})")
_NAME = re.compile(r"(?!merged-)[A-Za-z0-9][A-Za-z0-9._+-]{0,149}", re.ASCII)


def folder(dataset: str, day: date) -> str:
    """The folder of a day."""
    return f"{dataset}/date={day.isoformat()}"


def check_name(name: str) -> str:
    """A name that a caller may give a file.

    Raises:
        StoreError: it could mean another path, be hidden from readers, or be
            taken for a merged file.
    """
    if not _NAME.fullmatch(name):
        raise StoreError(
            f"{name!r} cannot name a history file.",
            fix="use up to 150 letters, digits and any of '._+-', not beginning 'merged-'.",
        )
    return name


def days(home: Home, dataset: str) -> list[date]:
    """The days of which there is a folder, in order."""
    found = []
    for name, size in home.sizes(dataset).items():
        if size is None and (match := _DAY.fullmatch(name)):
            try:
                found.append(date.fromisoformat(match[1]))
            except ValueError:
                continue  # 2026-02-30 is somebody else's folder
    return found


def sizes(home: Home, dataset: str, day: date) -> dict[str, int]:
    """The Parquet files of a day by name, with their bytes."""
    return {
        name: size
        for name, size in home.sizes(folder(dataset, day)).items()
        if size is not None and is_data(name)
    }


def files(home: Home, dataset: str, day: date) -> list[str]:
    """The Parquet files of a day, relative to the home, in order."""
    return [f"{folder(dataset, day)}/{name}" for name in sizes(home, dataset, day)]


def is_data(name: str) -> bool:
    """Whether a file is one that readers see."""
    return name.endswith(".parquet") and name[0] not in "._"


def is_merged(name: str) -> bool:
    """Whether a file came out of a roll-up."""
    return name.startswith(_MERGED)


def merged_name(sources: Iterable[str]) -> str:
    """The file name of a merge: the same for the same contents, else another."""
    digest = hashlib.sha256("\n".join(sorted(sources)).encode()).hexdigest()
    return f"{_MERGED}{digest[:32]}.parquet"


def sources(home: Home, rel: str) -> frozenset[str]:
    """The names whose rows a file holds: its own, or those that it replaced.

    Raises:
        StoreError: a merged file cannot be read, or does not say.
    """
    name = rel.rpartition("/")[2]
    if not is_merged(name):
        return frozenset({name.removesuffix(".parquet")})
    metadata = parquet.footer(home, rel).metadata or {}
    try:
        return frozenset(json.loads(metadata[SOURCES.encode()]))
    except (KeyError, ValueError, TypeError) as error:
        raise StoreError(
            f"the file {home.path(rel)} does not say which files it replaced.", why=repr(error)
        ) from error
