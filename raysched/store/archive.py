"""The history and the results of a home, wherever the home is: one port, and the near one.

Law: reads only. Who asks says what, not where: the files are read here if the home is
here, and beside it otherwise (`store.distant`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from raysched.store.reader import Names

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from raysched.store.home import Home
    from raysched.store.summary import Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Which rows of which dataset; see `store.reader.read` for what the bounds compare."""

    dataset: str
    since: datetime | None = None
    until: datetime | None = None
    job: Names | None = None
    status: Names | None = None
    run_id: Names | None = None

    @property
    def filters(self) -> dict[str, Any]:
        """The filters by name."""
        return {
            "since": self.since,
            "until": self.until,
            "job": self.job,
            "status": self.status,
            "run_id": self.run_id,
        }


class Archive(Protocol):
    """What a home holds, to be read."""

    def frame(self, question: Question) -> pd.DataFrame:
        """Return rows as a DataFrame, each once, unfinished runs among them, oldest first.

        Raises:
            InputError: there is no such dataset, it has no status, or a bound has no zone.
            StoreError: a file or the database is damaged.
        """

    def batches(self, question: Question) -> Iterator[pa.RecordBatch]:
        """Yield what `frame` would hold, a part at a time, in no particular order.

        Raises:
            InputError, StoreError: as `frame`; some of them only on the way.
        """

    def summary(self) -> list[Summary]:
        """Return what the files of each dataset come to. Raises: StoreError."""

    def resolve(self, prefix: str) -> list[str]:
        """Return up to 10 ids of runs that begin with a prefix. Raises: StoreError."""

    def holding(self, path: str) -> AbstractContextManager[Home]:
        """A home that can be read here and has a result's file under its path.

        Raises:
            StoreError: the path is not one of a result, or the file is gone.
        """


class FileArchive:
    """The archive of a home that this process sees."""

    def __init__(self, home: str | Path, state_url: str | None = None) -> None:
        """Remember where it is; `state_url` names its database if that is not its own."""
        self._home, self._state_url = home, state_url

    def frame(self, question: Question) -> pd.DataFrame:
        from raysched.store import query

        return query.frame(
            self._home, question.dataset, state_url=self._state_url, **question.filters
        )

    def batches(self, question: Question) -> Iterator[pa.RecordBatch]:
        from raysched.store import query

        return query.batches(
            self._home, question.dataset, state_url=self._state_url, **question.filters
        )

    def summary(self) -> list[Summary]:
        from raysched.store.summary import summary

        return summary(self._home)

    def resolve(self, prefix: str) -> list[str]:
        from raysched.store import query

        return query.resolve(self._home, prefix, state_url=self._state_url)

    @contextmanager
    def holding(self, path: str) -> Iterator[Home]:
        from raysched.store import results

        yield results.published(self._home, path)

    def __str__(self) -> str:
        return str(self._home)
