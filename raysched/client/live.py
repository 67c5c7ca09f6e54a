"""A run as it changes: watched, or waited for.

Law: between two looks it waits on the scheduler, which answers as soon as the run is
over. Whoever leaves, by an interruption too, changes nothing about the run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from raysched.client import cards, stage
from raysched.client.glance import TAIL
from raysched.core.model import born
from raysched.core.states import State
from raysched.show.card import Card

if TYPE_CHECKING:
    from raysched.client import Client, Run
    from raysched.client.stage import Stage

Row = Mapping[str, Any]

GOES_ON = "not watched any more; the run goes on, run.cancel() ends it"
PATIENCE_S = 2.0
"""How long a wait may take before it shows anything."""

_UNSEEN_S = 30.0  # one question to the scheduler takes this long where nobody looks
_SKEW = timedelta(seconds=5)


def pace(elapsed_s: float) -> float:
    """Return the seconds between two looks, after so many: a long run is looked at less often."""
    return min(2.0, max(0.4, elapsed_s / 30))


def watch(run: Run, client: Client) -> None:
    """Show a run until it is over.

    Raises:
        NotFound: nobody knows the run.
        ClusterError: the scheduler does not answer any more.
    """
    begin, place, tail = time.monotonic(), stage.for_watching(), Tail(client, run.id)
    row = run.details()
    try:
        while not State(row["status"]).final:
            place.show(_card(row, tail.read()))
            ended = client.wait_for(run.id, pace(time.monotonic() - begin))
            row = ended or run.details()
    except KeyboardInterrupt:
        place.close(_card(row, tail.lines, GOES_ON))
        raise
    except BaseException:
        place.close()
        raise
    # Once more: lines may have come between the last look at them and at the state.
    place.close(_card(row, tail.read()))


def _card(row: Row, lines: list[str], note: str = "") -> Card:
    return cards.run_card(row, datetime.now(UTC), lines=lines, note=note)


class Tail:
    """The last lines of a run's output, read from where the reading before ended."""

    def __init__(self, client: Client, run_id: str) -> None:
        self._client = client
        self._run_id = run_id
        self._since = born(run_id)
        self._lines: dict[tuple[int, int], str] = {}

    @property
    def lines(self) -> list[str]:
        """The last lines that were read."""
        return [self._lines[key] for key in sorted(self._lines)]

    def read(self) -> list[str]:
        """Read what has come, and return the last lines."""
        frame = self._client._history("logs", self._since, run_id=self._run_id)
        if len(frame):
            keys = zip(frame["attempt"], frame["line_no"], strict=True)
            self._lines |= dict(zip(keys, frame["line"], strict=True))
            self._lines = {key: self._lines[key] for key in sorted(self._lines)[-TAIL:]}
            # Lines of two streams may come in another order than their instants.
            self._since = frame["ts"].max().to_pydatetime() - _SKEW
        return self.lines


class Waiting:
    """What is seen of a wait: nothing at first, then the run's state and progress."""

    def __init__(self, run_id: str, place: Stage) -> None:
        self._run_id = run_id
        self._place = place
        self._begin = time.monotonic()
        self._row: Row | None = None
        self._seen = False

    @property
    def pause_s(self) -> float:
        """How long to wait for the end before the next look."""
        if isinstance(self._place, stage.Nowhere):
            return _UNSEEN_S
        elapsed = time.monotonic() - self._begin
        return PATIENCE_S - elapsed if elapsed < PATIENCE_S else pace(elapsed)

    def look(self, row: Row) -> None:
        """Show a run that is still going."""
        self._row = row
        if time.monotonic() - self._begin >= PATIENCE_S:
            self._seen = True
            self._place.show(_brief(row))

    def end(self, row: Row | None = None, note: str = "") -> None:
        """Leave how the run ended where its progress was shown, and a note in any case."""
        told = {"run_id": self._run_id, "status": ""}
        last = _brief(row or self._row or told, note)
        self._place.close(last if note or (row is not None and self._seen) else None)


def _brief(row: Row, note: str = "") -> Card:
    return cards.brief_card(row, datetime.now(UTC), note=note)


@contextmanager
def waiting(run: Run, *, show: bool) -> Iterator[Waiting]:
    """Show a wait while it lasts; an interruption is told and passes through."""
    seen = Waiting(run.id, stage.for_waiting() if show else stage.Nowhere())
    try:
        yield seen
    except KeyboardInterrupt:
        seen.end(note=GOES_ON)
        raise
    except BaseException:
        seen.end()
        raise
    seen.end(run.details())
