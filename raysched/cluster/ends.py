"""The ends of runs, for those who wait for them: each as it comes, and the last ones once more.

A client that started many runs waits for one after the other, and most have ended by the
time it asks: without the last ends, each would be looked up in the home's files.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

_KEPT = 1_000
_LARGE = 16 * 1024  # characters; with them a thousand rows would be a burden

_Row = Mapping[str, Any]


class Ends:
    """Told of ends in the engine's thread, asked for them in the actor's event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: OrderedDict[str, _Row] = OrderedDict()
        self._waiters: dict[str, list[asyncio.Future[_Row]]] = defaultdict(list)
        self._loop: asyncio.AbstractEventLoop | None = None

    def tell(self, rows: Sequence[_Row]) -> None:
        """Take in the rows of runs that have just ended."""
        with self._lock:
            for row in rows:
                self._last.pop(row["run_id"], None)
                if sum(len(each) for each in row.values() if isinstance(each, str)) < _LARGE:
                    self._last[row["run_id"]] = row
            while len(self._last) > _KEPT:
                self._last.popitem(last=False)
        if self._waiters and self._loop:
            self._loop.call_soon_threadsafe(self._wake, rows)

    async def wait(
        self, run_id: str, alive: Callable[[], Awaitable[bool]], timeout_s: float | None
    ) -> _Row | None:
        """Return the row of a run once it has ended, if `alive` says that it has not yet.

        Else its row if it is among the last ends; None if it is not, or after `timeout_s`.
        """
        self._loop = asyncio.get_running_loop()
        future = self._loop.create_future()
        self._waiters[run_id].append(future)  # before it is asked: it may end meanwhile
        try:
            if not await alive() and not future.done():
                with self._lock:
                    return self._last.get(run_id)
            return await asyncio.wait_for(future, timeout_s)
        except TimeoutError:
            return None
        finally:
            self._waiters[run_id].remove(future)
            if not self._waiters[run_id]:
                del self._waiters[run_id]

    def _wake(self, rows: Sequence[_Row]) -> None:
        for row in rows:
            for future in self._waiters.get(row["run_id"], ()):
                if not future.done():
                    future.set_result(row)
