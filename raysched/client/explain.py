"""Why a job or a run is where it is: the scheduler is asked, and of what is over the history."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from raysched.core.explain import Explanation, explain_finished, with_last_slot
from raysched.errors import NotFound
from raysched.show.text import plain_rows

if TYPE_CHECKING:
    from raysched.client import Client, Run

_RECENT = timedelta(days=31)
"""The history is searched for a job's last slot only if that was decided within this time."""


def explained(client: Client, name: str) -> Explanation:
    """Return why the job of this name, or the run whose id begins so, is where it is.

    Raises:
        NotFound: neither a job nor a run has this name.
        Ambiguous: several runs have ids that begin so.
    """
    try:
        found: Explanation = client._handle.call("explain", name)
        return _with_last_slot(client, found)
    except NotFound as nothing:
        run = _begins(client, name, nothing)
    if run.id != name:
        return explained(client, run.id)
    return explain_finished(run.details(), plain_rows(client.attempts(run.id)))


def _begins(client: Client, name: str, nothing: NotFound) -> Run:
    """Return the run whose id begins so; if there is none, neither is there a job."""
    try:
        return client.run(name)
    except NotFound:
        raise nothing from None


def _with_last_slot(client: Client, found: Explanation) -> Explanation:
    if found.decided is None or datetime.now(UTC) - found.decided > _RECENT:
        return found
    rows = client._history("decisions", found.decided, job=found.job)
    return with_last_slot(found, plain_rows(rows))
