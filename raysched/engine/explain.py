"""Why a job or a run is where it is, gathered from the book and decided by `core.explain`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from itertools import islice

from raysched.core.capacity import Cluster, Room, demand_of, find_room
from raysched.core.explain import (
    Explanation,
    RunView,
    explain_deleted,
    explain_job,
    explain_run,
)
from raysched.core.model import Run
from raysched.core.states import State
from raysched.engine.book import Book
from raysched.errors import NotFound
from raysched.spec.definition import JobSpec

_FOREMOST = [State.RETRYING, State.QUEUED, State.RUNNING]
_NAMED = 3  # unfinished runs that a job's explanation tells of


def explain(
    book: Book, name: str, cluster: Cluster | None, was_deployed: Callable[[str], bool]
) -> Explanation:
    """Return why a job or an unfinished run is where it is.

    Raises:
        NotFound: no unfinished run has this id, and no job has or had this name.
    """
    if name in book.runs:
        return of_run(book, book.runs[name], cluster)
    if name in book.jobs:
        return _of_job(book, name, cluster)
    if was_deployed(name):
        return explain_deleted(name)
    raise NotFound(
        f"there is no job or unfinished run {name[:300]!r}.",
        fix="see `raysched jobs` and `raysched runs`, or client.jobs() and client.runs().",
    )


def of_run(book: Book, run: Run, cluster: Cluster | None = None) -> Explanation:
    """Return why an unfinished run is where it is."""
    spec = book.version_of(run).spec
    wait = book.dispatch.wait(run.run_id)
    queued = run.state is State.QUEUED and not (wait and wait.holders)
    return explain_run(
        RunView(
            run=run,
            spec=spec,
            launcher=book.launcher_state,
            deployed=run.job in book.jobs,
            wait=wait,
            room=_room(book, spec, cluster) if queued else None,
        )
    )


def _of_job(book: Book, name: str, cluster: Cluster | None) -> Explanation:
    unfinished = book.unfinished.get(name, {})
    states = [book.runs[run].state for run in unfinished]
    return explain_job(
        book.view(name),
        [of_run(book, book.runs[run], cluster) for run in islice(unfinished, _NAMED)],
        unfinished=len(unfinished),
        status=max(states, key=_FOREMOST.index) if states else None,
        room=None if unfinished else _room(book, book.jobs[name].current.spec, cluster),
    )


def _room(book: Book, spec: JobSpec, cluster: Cluster | None) -> Room | None:
    if cluster is None:
        return None
    runs: dict[str, list[str]] = defaultdict(list)
    for run in book.runs.values():
        if run.state is State.RUNNING and run.node_id:
            runs[run.node_id].append(run.run_id)
    return find_room(demand_of(spec), cluster, runs)
