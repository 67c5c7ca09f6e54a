"""The closed sets of policies, and the numbers that go with them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, TypeVar

from raysched.errors import InvalidPolicy
from raysched.spec.units import Duration, duration, shown


class Overlap(StrEnum):
    """What becomes of a slot while the job already has as many unfinished runs as it may."""

    SKIP = "skip"
    """The slot is skipped, with the run that is in its way as the reason."""
    QUEUE = "queue"
    """The slot fires; its run waits for its turn."""
    REPLACE = "replace"
    """The slot fires; the oldest unfinished runs are cancelled to make room."""
    ALLOW = "allow"
    """The slot fires; runs of the job go on side by side."""


class Catchup(StrEnum):
    """What becomes of the slots that came due while no scheduler was up."""

    NONE = "none"
    """They are missed; only a slot that is still on time fires."""
    LATEST = "latest"
    """The latest fires, the others are coalesced into it."""
    ALL = "all"
    """Each fires, the newest `max_catchup` of them; older ones are missed."""


class Placement(StrEnum):
    """How Ray chooses a node among those that fit."""

    PACK = "pack"
    """Fill a node before the next one."""
    SPREAD = "spread"
    """Even out over the nodes."""


_Policy = TypeVar("_Policy", bound=StrEnum)


def policy(kind: type[_Policy], value: object, *, of: str, also: Sequence[str] = ()) -> _Policy:
    """Return the member of `kind` that `value` names; the error names it and the `also` choices.

    Raises:
        InvalidPolicy: no such member.
    """
    for member in kind:
        if value is member or (type(value) is str and value == member.value):
            return member
    names = ", ".join(f'"{member}"' for member in (*kind, *also))
    raise InvalidPolicy(
        f"{of}={shown(value)} is not a policy.",
        why=f"the choices are {names}.",
        fix=f'write for example {of}="{next(iter(kind))}".',
    )


def count(value: object, *, of: str, least: int = 1, most: int = 1_000_000) -> int:
    """Return `value` if it is a whole number from `least` to `most`.

    Raises:
        InvalidPolicy: a bool, a fraction, a string, or out of range.
    """
    if type(value) is not int or not least <= value <= most:
        raise InvalidPolicy(
            f"{of}={shown(value)} is refused.",
            why=f"{of} is a whole number from {least:,} to {most:,}.",
            fix=f"write for example {of}={max(least, 3)}.",
        )
    return value


@dataclass(frozen=True, slots=True)
class Retry:
    """How often, and after which delay, a failed, lost or timed-out attempt is tried again.

    The delay before attempt n+1 is `delay * backoff**(n-1)`, at most `max_delay`: an hour
    if that is left out, or `delay` where that is longer.

    Raises:
        InvalidPolicy: a negative count, or a backoff below 1.
        InvalidUnit: an ambiguous duration.
    """

    retries: int = 0
    delay: Duration = timedelta(0)
    backoff: float = 1
    max_delay: Duration | None = None

    def __post_init__(self) -> None:
        count(self.retries, of="retries", least=0, most=1000)
        if type(self.backoff) not in (int, float) or not 1 <= self.backoff <= 100:
            raise InvalidPolicy(
                f"backoff={shown(self.backoff)} is refused.",
                why="each delay is the one before times backoff, from 1 to 100.",
                fix="write for example backoff=2.",
            )
        delay = duration(self.delay, of="delay", zero=True)
        longest = max(delay, timedelta(hours=1)) if self.max_delay is None else self.max_delay
        object.__setattr__(self, "delay", delay)
        object.__setattr__(self, "max_delay", duration(longest, of="max_delay", zero=True))

    def delay_after(self, attempt: int) -> timedelta:
        """Return how long to wait after the failed attempt number `attempt`, counted from 1."""
        delay, longest = duration_of(self.delay), duration_of(self.max_delay)
        if not delay:
            return delay
        # By logarithms first: backoff**999 is no number that a float can hold.
        if (attempt - 1) * math.log(self.backoff) > math.log(longest / delay or 1e-9):
            return longest
        return min(delay * self.backoff ** (attempt - 1), longest)


def duration_of(value: Duration | None) -> timedelta:
    """Return a field that `__post_init__` has already turned into a timedelta."""
    assert isinstance(value, timedelta)
    return value


def retry(value: Any) -> Retry:
    """Return the retry policy of a declaration: a `Retry`, or an int for that many at once.

    Raises:
        InvalidPolicy: neither of the two.
    """
    return value if type(value) is Retry else Retry(count(value, of="retries", least=0, most=1000))
