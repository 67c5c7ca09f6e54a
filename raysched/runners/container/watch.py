"""Waits for a container's end on the engine's events, and enforces what ends it.

Law: nothing is concluded from silence. A stream that breaks or is quiet is opened
anew from the start, and the engine is asked for the state.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from raysched.errors import ContainerLost
from raysched.runners.container.engine import Engine
from raysched.runners.container.events import Seen
from raysched.runners.container.faults import Absent, Away, Quiet, Refused, patiently
from raysched.runners.container.frames import moment
from raysched.runners.container.room import Room
from raysched.runners.container.task import Task

_QUIET_S = 30.0  # how long the engine may have no news before it is asked
_SLACK_S = 0.5
_OVERDUE_S = 5.0  # how much longer than its grace a container may last that is being stopped


class Watch:
    """The wait for one container's end."""

    def __init__(
        self,
        engine: Engine,
        container: str,
        room: Room,
        task: Task,
        *,
        since: str,
        started_ns: int | None,
        on_death: Callable[[], None],
    ) -> None:
        """Watch a container for a task; `on_death` is called once its death is told."""
        self._engine, self._room, self._since = engine, room, since
        self._container, self._timeout_s = container, task.timeout_s
        self._grace_s = task.container.grace.total_seconds()
        self._seen = Seen(start_ns=started_ns)
        self._on_death = on_death
        self._view = Seen()  # by the stream of events that was open last
        # An adopter asks first: of a container that ended before, no news will come.
        self._asks_first = started_ns is None
        self._stopped_at: float | None = None

    def until_death(self) -> None:
        """Wait until the container is dead; the engine may still be dealing with that.

        Raises:
            EngineLost: the engine went away and stayed away.
            ContainerLost: the container is gone.
        """
        self._enforce()  # a stop may have come before there was anything to stop
        while True:
            if not self._asks_first:
                self._view = self._listen()
            if self._view.died or not self._runs(self._ask()):
                return
            self._asks_first = False
            self._enforce()

    def end(self) -> tuple[Seen, bool, dict[str, Any]]:
        """Return what was seen, whether that is all there was to see, and the last state.

        The engine answers once it has dealt with the death.

        Raises:
            EngineLost: the engine went away and stayed away.
            ContainerLost: the container is gone.
        """
        while self._runs(state := self._ask()):  # somebody has started it again
            self._view = Seen()
            self._enforce()
            time.sleep(_SLACK_S)
        if not self._view.died:  # what happened between the last event and the answer
            self._view = self._replay()
            self._seen = self._seen.union(self._view)
        return self._seen, self._view.start_ns is not None, state

    def _ask(self) -> dict[str, Any]:
        return inspect(self._engine, self._container)

    def _runs(self, state: dict[str, Any]) -> bool:
        started = moment(state["State"]["StartedAt"])
        self._seen = replace(self._seen, start_ns=self._seen.start_ns or started)
        return bool(state["State"]["Running"])

    def _listen(self) -> Seen:
        """Follow the events until the container dies, the stream ends, or something is due."""
        view, quiet = Seen(), max(0.01, min(_QUIET_S, self._left()))
        try:
            for event in self._engine.events(self._container, self._since, quiet_s=quiet):
                view, self._seen = view.after(event), self._seen.after(event)
                if view.died:
                    self._on_death()
                    break
                if self._left() + _SLACK_S < quiet:
                    break
        except Quiet:
            pass
        except Away:
            time.sleep(0.01)
        return view

    def _left(self) -> float:
        """Return how long it is until the container's time is up."""
        if self._stopped_at is not None:
            return self._stopped_at + self._grace_s + _OVERDUE_S - time.monotonic()
        if self._timeout_s is None or self._seen.start_ns is None:
            return _QUIET_S
        return self._seen.start_ns / 1e9 + self._timeout_s - time.time()

    def _enforce(self) -> None:
        """Stop the container if it is to end and nobody has seen to it, or not with success."""
        due = self._left() <= 0
        if due and self._room.verdict() is None:
            self._room.condemn("timed_out")
        if self._room.verdict() is None:
            return
        seen_to = self._stopped_at is None and self._seen.kill is not None
        if self._stopped_at is None:
            self._stopped_at = time.monotonic()
        elif not due:
            return
        if not seen_to:
            with suppress(Away, Quiet, Absent, Refused):
                self._engine.stop(self._container, self._grace_s)
            self._stopped_at = time.monotonic()

    def _replay(self) -> Seen:
        def ask() -> Seen:
            view, until = Seen(), f"{time.time():.9f}"
            try:
                for event in self._engine.events(
                    self._container, self._since, until=until, quiet_s=10
                ):
                    view = view.after(event)
            except (Quiet, Refused) as error:
                raise Away(str(error)) from error
            return view

        return patiently(ask)


def inspect(engine: Engine, container: str) -> dict[str, Any]:
    """Return the state of a container that must be there.

    Raises:
        EngineLost: the engine went away and stayed away.
        ContainerLost: the container is gone.
    """

    def ask() -> dict[str, Any]:
        try:
            return engine.inspect(container)
        except (Refused, Quiet) as error:  # an engine that starts or stops
            raise Away(str(error)) from error

    try:
        return patiently(ask)
    except Absent as error:
        raise ContainerLost(
            "the container is gone.", why=str(error)[:300], fix="did somebody remove it?"
        ) from error
