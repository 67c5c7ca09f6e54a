"""The history straight from a home's files, no cluster needed.

What has not reached a Parquet file yet is merged in from the state database,
which is opened read-only.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysched.client.connect import default_home
from raysched.client.prefix import rows_of_run, whole_id
from raysched.spec.units import Duration, Instant, ago

if TYPE_CHECKING:
    import pandas as pd

Home = str | Path | None
Since = Duration | Instant | None


def runs(
    home: Home = None,
    *,
    since: Since = None,
    status: str | None = None,
    job: str | None = None,
    run_id: str | None = None,
) -> pd.DataFrame:
    """Return runs, finished or not, one row each, oldest first.

    `run_id` may be the beginning of an id that fits no other run.

    Raises:
        InvalidUnit: `since` is neither a duration nor an instant.
        InputError: there is no such status.
        NotFound: there is no run whose id begins with `run_id`.
        Ambiguous: there are several.
        StoreError: a file of the history is damaged; names it.
    """
    return _read(home, "runs", since, status=status, job=job, run_id=run_id)


def attempts(
    home: Home = None, *, since: Since = None, job: str | None = None, run_id: str | None = None
) -> pd.DataFrame:
    """Return finished attempts, one row each; raises as `runs` does."""
    return _read(home, "attempts", since, job=job, run_id=run_id)


def decisions(home: Home = None, *, since: Since = None, job: str | None = None) -> pd.DataFrame:
    """Return what became of slots, one row a slot or span of slots; raises as `runs` does."""
    return _read(home, "decisions", since, job=job)


def logs(
    home: Home = None, *, since: Since = None, job: str | None = None, run_id: str | None = None
) -> pd.DataFrame:
    """Return output, one row a line; raises as `runs` does."""
    return _read(home, "logs", since, job=job, run_id=run_id)


def _read(
    home: Home, dataset: str, since: Since, *, run_id: str | None = None, **filters: Any
) -> pd.DataFrame:
    from raysched.store.archive import FileArchive, Question

    archive = FileArchive(default_home() if home is None else Path(home))
    start = None if since is None else ago(since, datetime.now(UTC))
    asked = Question(dataset=dataset, since=start, **filters)
    if run_id is None:
        return archive.frame(asked)
    return rows_of_run(
        run_id,
        lambda whole: archive.frame(replace(asked, run_id=whole)),
        lambda prefix: whole_id(prefix, archive),
    )
