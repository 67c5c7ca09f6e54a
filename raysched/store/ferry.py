"""The way to a home that is not here: a file leaves as pieces, one at a time.

Law: it is indifferent to what a file holds, and holds no more of it than a piece. How a
step gets to the other end, and is told again when it may have been lost, is the
business of who made the ferry.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from raysched.errors import RayschedError
from raysched.store.dock import PIECE_BYTES, Dropped, Piece, Step, Whole
from raysched.store.home import Fill

Tell = Callable[[str, Step], None]
"""Has the dock take a step with a file, and returns when it has. Raises: StoreError."""


class Ferry:
    """A `Staging` whose files arrive at a dock."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def stage(self, temp: str, fill: Fill, *, keep: bool = False) -> None:
        """Write a file below `.staging` of the home; its name is always durable.

        Raises:
            StoreError: the other end refuses, or cannot be reached.
        """
        raw = _Pieces(lambda piece: self._tell(temp, piece))
        file = io.BufferedWriter(raw, PIECE_BYTES)
        try:
            fill(file)
            file.flush()
            if raw.tell() == 0:  # an empty file is one, too
                self._tell(temp, Piece(0, b""))
            self._tell(temp, Whole(raw.tell()))
        except BaseException:
            raw.close()  # what the buffer holds is not to leave any more
            with suppress(RayschedError):
                self._tell(temp, Dropped())
            raise


class _Pieces(io.RawIOBase):
    """A stream whose writes leave as pieces, each of which has arrived when `write` returns."""

    def __init__(self, tell_piece: Callable[[Piece], None]) -> None:
        self._tell_piece, self._at = tell_piece, 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")[:PIECE_BYTES]
        # As an array, which Ray passes on without a copy at either end.
        self._tell_piece(Piece(self._at, np.frombuffer(view, np.uint8)))
        self._at += len(view)
        return len(view)
