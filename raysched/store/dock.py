"""Where results arrive in pieces from workers that do not see the home.

Law: nothing that a worker says is trusted. The name must be one of a staged result of
the worker's own attempt, each piece must begin where what has arrived ends, and the size
must be what is there. It keeps nothing in memory, so that it may die at any piece; a
file is durable before its worker is told that it has arrived.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raysched.errors import RayschedError, StoreError
from raysched.store import results
from raysched.store.home import Home, LocalHome, open_home, storing

PIECE_BYTES = 4 * 1024 * 1024
"""The most that travels at once."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a file, from `offset` on; told again they change nothing."""

    offset: int
    data: Any  # whatever has a buffer


@dataclass(frozen=True, slots=True)
class Whole:
    """All pieces have been told: `size` bytes."""

    size: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """The file is not to be kept."""


Step = Piece | Whole | Dropped


class Dock:
    """Takes files in for one home; threads may share it."""

    def __init__(self, home: str | Path | Home) -> None:
        self._where = home
        self._home: Home | None = None
        self._opening = threading.Lock()

    def take(self, key: str, hidden: str, step: Step) -> None:
        """Take a step with the file `hidden` of the attempt `key`.

        Raises:
            StoreError: it is not that attempt's, it does not follow on the steps before, or
                the disk refuses. A file that the disk refuses is not kept.
        """
        if results.owner(hidden) != _owned_by(key):
            raise _refusal(f"{hidden[:300]!r} is no staged result of {key[:300]!r}.")
        home = self._opened()
        with storing(f"the result of {key.rpartition('#')[0]} cannot be written."):
            results.no_links(home, hidden)
            try:
                _carry_out(home, hidden, step)
            except (ValueError, TypeError) as error:
                raise _refusal(f"{error}.") from error
            except OSError:
                home.discard(hidden)
                raise

    def _opened(self) -> LocalHome:
        with self._opening:
            if self._home is None:
                self._home = open_home(self._where)
        if not isinstance(self._home, LocalHome):
            raise StoreError(
                f"no result can be shipped to the home {self._where}.",
                why="it is an object store, which its workers write themselves.",
                fix="give the workers' machines access to it.",
            )
        return self._home


def _carry_out(home: LocalHome, hidden: str, step: Step) -> None:
    match step:
        case Piece(offset=offset, data=data):
            view = memoryview(data).cast("B")
            if len(view) > PIECE_BYTES:
                raise ValueError(f"a piece has {len(view)} bytes, {PIECE_BYTES} are the most")
            home.stage_piece(hidden, offset, view)
        case Whole(size=size):
            home.finish_pieces(hidden, size)
        case Dropped():
            home.discard(hidden)
        case _:
            raise TypeError(f"{type(step).__name__} is no step")


def _owned_by(key: str) -> str:
    run_id, _, attempt = key.rpartition("#")
    try:
        return results.owned_by(run_id.partition("@")[0], run_id, int(attempt))
    except (RayschedError, ValueError):
        raise _refusal(f"{key[:300]!r} is no attempt's key.") from None


def _refusal(why: str) -> StoreError:
    return StoreError("a result is refused on its way to the home.", why=why)
