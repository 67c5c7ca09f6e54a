"""A short look at the scheduler and the history, for what shows itself.

Law: a look never raises and never takes long; what could not be seen is said instead.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from raysched.client import cards
from raysched.cluster.patience import hurry
from raysched.core.model import born
from raysched.core.states import State
from raysched.errors import RayschedError
from raysched.show.card import Card
from raysched.show.text import one_line, plain_rows

if TYPE_CHECKING:
    from raysched.client import Client, Run

T = TypeVar("T")

LOOK_S = 2.0
"""How long the looks that follow one another, as in a list of runs, may take together."""

_APART_S = 1.0  # looks that are further apart were asked for one by one
_LEAST_S = 0.01

TAIL = 8
"""How many of a run's last lines are shown."""

_RECENT = timedelta(minutes=2)
_LAST_STATES_OF = timedelta(hours=24)


class Looks:
    """Looks at the scheduler and the history that share their time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left = LOOK_S
        self._last = -math.inf
        self._why = ""

    def look(self, question: Callable[[], T]) -> tuple[T | None, str]:
        """Return the answer to a question; if there is none, None and why in a line."""
        begin = self._clock()
        if begin - self._last > _APART_S:
            self._left, self._why = LOOK_S, ""
        if self._left < _LEAST_S:
            return None, self._why or "not looked up: too many at once."
        try:
            with hurry(self._left):
                return question(), ""
        except RayschedError as error:
            self._why = one_line(error.what[:500])
        except Exception as error:  # a repr that raises hides the very object
            self._why = one_line(f"{type(error).__name__}: {str(error)[:500]}")
        finally:
            self._last = self._clock()
            self._left -= self._last - begin
        return None, self._why


look = Looks().look


def text_of_run(run: Run) -> str:
    """Return what a run's plain repr says of its state."""
    row, why = look(run.details)
    return f"unknown: {why}" if row is None else cards.run_text(row, datetime.now(UTC))


def card_of_run(run: Run, client: Client) -> Card:
    """Return a run's card, as it is now."""
    row, why = look(run.details)
    if row is None:
        return cards.unknown_card("Run", run.id, why)
    lines, _ = look(lambda: last_lines(client, row))
    return cards.run_card(row, datetime.now(UTC), lines=lines or ())


def brief_card_of_run(run: Run) -> Card:
    """Return a run's card with its state alone."""
    row, why = look(run.details)
    if row is None:
        return cards.unknown_card("Run", run.id, why)
    return cards.brief_card(row, datetime.now(UTC))


def last_lines(client: Client, row: Mapping[str, Any], most: int = TAIL) -> list[str]:
    """Return the last lines of a run's output; the newest part of a long one is tried first."""
    run_id, end = row["run_id"], row["finished_at"] or datetime.now(UTC)
    frame = client._history("logs", end - _RECENT, run_id=run_id)
    if len(frame) < most:
        frame = client._history("logs", born(run_id), run_id=run_id)
    ordered = frame.sort_values(["attempt", "line_no"])
    return [str(line) for line in ordered["line"].tail(most)]


def text_of_client(client: Client) -> str:
    """Return what a client's plain repr says of its scheduler."""
    status, why = look(client.status)
    return why if status is None else cards.client_text(status)


def card_of_client(client: Client) -> Card:
    """Return a client's card: counts, and each job with its next slot and last state."""
    found, why = look(lambda: (client.status(), plain_rows(client.jobs())))
    if found is None:
        return cards.unknown_card("Client", str(client.home), why)
    last, _ = look(lambda: _last_states(client))
    return cards.client_card(*found, last or {}, datetime.now(UTC))


def _last_states(client: Client) -> dict[str, str]:
    frame = client.runs(since=_LAST_STATES_OF)
    over = frame[frame["status"].isin([state for state in State if state.final])]
    newest = over.groupby("job", observed=True)["status"].last()
    return {str(job): str(status) for job, status in newest.items()}
