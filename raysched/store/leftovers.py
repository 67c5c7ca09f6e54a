"""Staged results that nobody can claim any more, and their removal.

Law: a staged result is claimed by the end of its attempt, and by nothing else; that
counts while its run is unfinished and the attempt is the run's current one. Runs finish
for good and attempts only grow. So whatever is listed first, and not claimed by what the
database says *afterwards*, is never claimed again: however old this scheduler is, and
whatever another one does meanwhile.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from raysched.core.model import Run
from raysched.store import results
from raysched.store.home import Home, LocalHome, open_home, storing

YOUNG_S = 60.0
"""A younger file is most likely being written: sparing it spares asking the database."""

_log = logging.getLogger(__name__)


def sweep(
    home: str | Path | Home,
    unfinished: Callable[[], Iterable[Run]],
    *,
    young_s: float = YOUNG_S,
    now: Callable[[], float] = time.time,
) -> list[str]:
    """Remove what no run in `unfinished()` can claim, and return the paths below home.

    Raises:
        StoreError: the folders cannot be listed, a file not be removed, or the database
            not be read.
    """
    place = open_home(home)
    if not isinstance(place, LocalHome):
        return []  # object stores expire what is left under `.staging` by a lifecycle rule
    with storing("staged results cannot be listed."):
        listed = _listed(place, now() - young_s)
    if not listed:
        return []
    claims = {results.owned_by(run.job, run.run_id, run.attempt) for run in unfinished()}
    left = [hidden for hidden in listed if results.owner(hidden) not in claims]
    for hidden in left:
        results.discard(place, hidden)
    if left:
        _log.info("%d staged results that nobody claims were removed", len(left))
    return left


def _listed(home: LocalHome, before: float) -> list[str]:
    """The staged results that were last written before an instant."""
    found = []
    for job, inner in home.names(results.STAGED).items():
        folder = f"{results.STAGED}/{job}"
        for name in home.names(folder) if inner else ():
            hidden = f"{folder}/{name}"
            try:
                old = home.stat(hidden).st_mtime < before
            except FileNotFoundError:
                continue  # published or dropped since
            if old and results.owner(hidden):
                found.append(hidden)
    return found
