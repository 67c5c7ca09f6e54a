"""A clock that stands still until it is moved."""

from __future__ import annotations

from datetime import UTC, datetime

from raysched.spec.units import Duration, duration

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""When virtual time begins unless a test says otherwise."""


class FakeClock:
    """A wall clock in the hands of a test."""

    def __init__(self, start: datetime = EPOCH) -> None:
        self._now = start

    def now(self) -> datetime:
        """Return the present instant, in UTC."""
        return self._now

    def advance(self, by: Duration) -> None:
        """Move forward by a duration, such as `"90m"`.

        Raises:
            InvalidUnit: not a duration, or a negative one.
        """
        self._now += duration(by, of="by", zero=True)

    def move_to(self, moment: datetime) -> None:
        """Move to an instant; a clock never goes back, so an earlier one does nothing."""
        self._now = max(self._now, moment)

    def __repr__(self) -> str:
        return f"<FakeClock {self._now.isoformat()}>"
