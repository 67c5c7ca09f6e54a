"""What a job may know and tell of its own run: `rs.current()`."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field
from datetime import date, datetime
from zoneinfo import ZoneInfo

from raysched.errors import InvalidParameter
from raysched.spec.units import shown

_MOST_METRICS = 100


@dataclass(slots=True)
class Current:
    """The run that is under way in this process.

    `slot` is the instant that the schedule named, aware, in the schedule's zone; None
    for a run made by hand. `day` is the slot's calendar day in that zone, the logical
    day that a daily job is about.
    """

    run_id: str
    attempt: int
    job: str
    slot: datetime | None = None
    shard: int = 0
    shards: int = 1
    _progress: tuple[float, float] | None = None
    _metrics: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def day(self) -> date | None:
        """The slot's calendar day in the schedule's zone, or None without a slot."""
        return None if self.slot is None else self.slot.date()

    def progress(self, done: float, total: float) -> None:
        """Say that `done` of `total` is done; shown live.

        Raises:
            InvalidParameter: not finite numbers from 0, `done` at most `total`.
        """
        done, total = _number(done, "done"), _number(total, "total")
        if not 0 <= done <= total:
            raise InvalidParameter(
                f"progress({done:g}, {total:g}) is refused.",
                why="done lies from 0 to total.",
                fix="call for example progress(3, 10).",
            )
        with self._lock:
            self._progress = (done, total)

    def metric(self, name: str, value: float) -> None:
        """Record a number under a name; the last value of a name stays with the run.

        Raises:
            InvalidParameter: not a finite number, a bad name, or more than 100 names.
        """
        if type(name) is not str or not 0 < len(name) <= 100 or not name.isprintable():
            raise InvalidParameter(
                f"metric name {shown(name)} is refused.",
                why="a metric has a printable name of 1 to 100 characters.",
                fix='call for example metric("rows", 42).',
            )
        with self._lock:
            if name not in self._metrics and len(self._metrics) >= _MOST_METRICS:
                raise InvalidParameter(
                    f"metric {shown(name)} is one too many.",
                    why=f"a run has at most {_MOST_METRICS}.",
                    fix="return a DataFrame instead.",
                )
            self._metrics[name] = _number(value, name)

    def told(self) -> tuple[tuple[float, float] | None, dict[str, float]]:
        """Return the last progress, and all metrics."""
        with self._lock:
            return self._progress, dict(self._metrics)


_current: Current | None = None


def current() -> Current:
    """Return the run that is under way in this process.

    In a plain call of a job's function there is none. What is returned then has an
    empty `run_id` and no slot, and keeps progress and metrics to itself, so that a job
    that tells of its progress stays an ordinary function.
    """
    return _current or Current(run_id="", attempt=0, job="")


def set_current(run: Current | None) -> None:
    """Say which run is under way in this process; None for none."""
    global _current  # noqa: PLW0603 - a worker process has one run at a time, known to all threads
    _current = run


def in_zone(slot: datetime | None, timezone: str) -> datetime | None:
    """Return a slot as its schedule's zone writes it."""
    return None if slot is None else slot.astimezone(ZoneInfo(timezone))


def _number(value: object, of: str) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except Exception:
        number = math.nan
    if not math.isfinite(number):
        raise InvalidParameter(
            f"{shown(of)} is {shown(value)}.", why="it is a finite number.", fix="check it first."
        )
    return number
