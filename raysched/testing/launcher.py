"""A launcher that runs nothing: attempts start and end by a script, in the fake clock's time."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from raysched.core.model import Outcome, Stop
from raysched.core.orders import Beat, Ended, LogLine, Order, Report, Started
from raysched.core.ports import Clock, StopOrder
from raysched.core.states import Event
from raysched.engine.messages import LauncherUp, Message, Reports
from raysched.spec.units import to_us


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What an attempt does: how long it waits for its start, how long it runs, how it ends.

    It writes `lines` lines, the first half of them told with its start, and leaves the
    hidden file `result`, if it succeeds, or `partial`, if it fails. Of an attempt that has
    really run, `outcome` is what came of it and `log` what it wrote; when it starts and
    ends stays a matter of the fake clock.
    """

    wait: timedelta = timedelta(milliseconds=2)
    takes: timedelta = timedelta(milliseconds=1)
    event: Event = Event.SUCCEED
    reason: str = ""
    lines: int = 0
    result: str | None = None
    partial: str | None = None
    outcome: Outcome | None = None
    log: Sequence[LogLine] = ()


Script = Callable[[Order], Act]

_ANNOUNCED = timedelta(milliseconds=100)
"""An attempt that takes longer than this tells of its start; a shorter one only of its end."""


class FakeLauncher:
    """A `Launcher` whose answers are collected by whoever drives the engine.

    `executions` lists the key of every attempt that began, in order, and `alive` those
    that are under way: the record of the work itself, to hold against the scheduler's.
    """

    def __init__(self, clock: Clock, script: Script | None = None) -> None:
        self._clock = clock
        self._script = script or (lambda order: Act())
        self._incarnation = 1
        self._epoch = 0
        self._greet = False
        self._order = 0
        self._events: list[tuple[datetime, int, str]] = []
        self._acts: dict[str, tuple[Act, datetime]] = {}
        self._contained: set[str] = set()
        self._unwatched: dict[str, tuple[Act, datetime]] = {}
        self._untold: dict[tuple[str, str], Report] = {}
        self._told: dict[tuple[str, str], Report] = {}
        self.executions: list[tuple[str, datetime]] = []

    @property
    def name(self) -> str:
        """The present incarnation's name."""
        return f"launcher-{self._incarnation}"

    @property
    def alive(self) -> set[str]:
        """The keys of the attempts that have begun and not ended."""
        self._pass_time()
        now = self._clock.now()
        alone = {key for key, (act, start) in self._unwatched.items() if now < start + act.takes}
        return alone | {key for key, (_, start) in self._acts.items() if start <= now}

    def attach(self, epoch: int) -> None:
        """Answer with a `LauncherUp`, and refuse older epochs from now on."""
        self._epoch = max(epoch, self._epoch)
        self._greet = epoch == self._epoch

    def launch(self, tasks: Sequence[Sequence[Order]]) -> None:
        """Begin attempts; one that is known already is left alone.

        One that is resumed goes on if its container outlived an earlier launcher.
        """
        for order in (order for task in tasks for order in task):
            if order.container is not None:
                self._contained.add(order.key)
            if order.resumed and order.key in self._unwatched:
                act, start = self._acts[order.key] = self._unwatched.pop(order.key)
                self._at(max(start + act.takes, self._clock.now()), order.key)
            elif order.key not in self._known():
                now = self._clock.now()  # before a script that really runs and moves the clock
                act = self._script(order)
                self._acts[order.key] = (act, now + act.wait)
                self._at(now + act.wait, order.key)

    def stop(self, orders: Sequence[StopOrder]) -> None:
        """End attempts."""
        self._pass_time()
        events = {Stop.CANCELLED: Event.CANCEL, Stop.TIMED_OUT: Event.TIME_OUT}
        for order in orders:
            if order.key in self._acts:
                act, start = self._acts.pop(order.key)
                stopped = replace(act, event=events[order.stop], reason="stopped", outcome=None)
                self._tell_end(order.key, stopped, start, self._clock.now())

    def die(self) -> None:
        """Lose every attempt, as a launcher's death does; it is back at once, empty.

        Containers that have begun go on, and nobody watches them.
        """
        self._pass_time()
        now = self._clock.now()
        self._unwatched |= {
            key: (act, start)
            for key, (act, start) in self._acts.items()
            if key in self._contained and start <= now
        }
        self._incarnation += 1
        self._events, self._acts, self._untold = [], {}, {}
        self._greet = True

    def next_event(self) -> datetime | None:
        """Return when something happens next, or None."""
        if self._greet or self._untold:
            return self._clock.now()
        return self._events[0][0] if self._events else None

    def collect(self) -> list[Message]:
        """Return the messages to hand to the engine now; they are told again until acknowledged."""
        self._pass_time()
        self._told = dict(self._untold)
        messages: list[Message] = []
        if self._greet:
            messages.append(LauncherUp(launcher=self.name, known=frozenset(self._known())))
        if self._untold:
            messages.append(Reports(launcher=self.name, reports=tuple(self._told.values())))
        return messages

    def acknowledge(self) -> None:
        """Forget what `collect` returned: the engine's turn with it is durable."""
        self._greet = False
        for kind in self._told:  # and not what has happened since
            self._untold.pop(kind, None)
        self._told = {}

    def _pass_time(self) -> None:
        now = self._clock.now()
        while self._events and self._events[0][0] <= now:
            self._happen(*heapq.heappop(self._events)[::2])

    def _known(self) -> set[str]:
        return {*self._acts, *(key for _, key in self._untold)}

    def _at(self, moment: datetime, key: str) -> None:
        self._order += 1
        heapq.heappush(self._events, (moment, self._order, key))

    def _happen(self, moment: datetime, key: str) -> None:
        if key not in self._acts:
            return
        act, start = self._acts[key]
        if moment < start + act.takes:
            self.executions.append((key, moment))
            self._at(start + act.takes, key)
            if act.takes > _ANNOUNCED:
                self._untold["started", key] = Started(
                    key=key, started_at=start, node_id="node", node_ip="127.0.0.1", worker_pid=1
                )
                if early := _lines(key, act, start, first=1, last=act.lines // 2):
                    self._untold["beat", key] = Beat(key=key, lines=early)
            return
        if act.takes == timedelta(0):
            self.executions.append((key, moment))
        del self._acts[key]
        self._tell_end(key, act, start, moment)

    def _tell_end(self, key: str, act: Act, start: datetime, now: datetime) -> None:
        began = start <= now
        outcome = replace(
            act.outcome
            or Outcome(
                event=act.event,
                reason=act.reason,
                result_path=act.result,
                partial_path=act.partial if act.event is Event.FAIL else None,
            ),
            started_at=start if began else None,
            finished_at=now,
            node_id="node",
            node_ip="127.0.0.1",
        )
        told = act.lines // 2 if act.takes > _ANNOUNCED else 0
        lines = _lines(key, act, start, first=told + 1, last=act.lines) if began else ()
        self._untold["ended", key] = Ended(key=key, outcome=outcome, lines=lines)


def _lines(key: str, act: Act, start: datetime, *, first: int, last: int) -> tuple[LogLine, ...]:
    if act.log:
        return tuple(act.log)  # of what is told twice the engine takes in each line once
    return tuple(
        LogLine(ts_us=to_us(start), stream="stdout", line_no=n, text=f"line {n} of {key}")
        for n in range(first, last + 1)
    )
