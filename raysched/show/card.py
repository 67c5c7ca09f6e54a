"""A card: what is shown of one thing, whatever shows it.

Frozen values of text and numbers. What a user's job said stands in them as it came:
it is made harmless, and cut to size, by whoever draws the card.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Names and values; those that are empty are not shown."""

    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """How much of something is done."""

    done: float
    total: float

    @property
    def share(self) -> float:
        """The part that is done, from 0 to 1; 0 of 0 is all of it."""
        return min(1.0, max(0.0, self.done / self.total)) if self.total else 1.0

    @property
    def text(self) -> str:
        """What is done in numbers: `3 of 10 (30%)`."""
        # Rounded down: what is not whole is not 100%.
        return f"{self.done:,.15g} of {self.total:,.15g} ({math.floor(self.share * 100)}%)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under a header; `total` is how many there are if these are only some.

    `states` is the column that holds a state, if one does.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    total: int
    of: str
    states: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Lines of text in a fixed pitch; `total` is how many there are, None where nobody counted."""

    name: str
    lines: Sequence[str]
    total: int | None = None


Part = Facts | Bar | Table | Lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One thing: of which kind, its title, its state if it has one, and parts by importance."""

    kind: str
    title: str
    state: str = ""
    note: str = ""
    parts: Sequence[Part] = ()
