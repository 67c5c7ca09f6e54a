"""The large code of jobs, on its way from the scheduler to the workers: fetched once, not each run.

Code lies in Ray's store for as long as anybody holds its reference. An attempt under way
holds that of its own, and this cache that of the code launched last, so that a job that
runs again soon finds it there.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from raysched.errors import NotFound

KEPT_BYTES = 128 * 1024 * 1024
"""How much code is kept for attempts to come."""


class Unanswered(Exception):
    """Raised when nobody has said what the code is, nor that there is none; ask again."""


class _Kept(NamedTuple):
    reference: Any
    size: int


class Codes:
    """References to code by its hash, those launched last; threads may share it."""

    def __init__(
        self,
        *,
        fetch: Callable[[str], bytes | NotFound],
        put: Callable[[bytes], Any],
        most_bytes: int = KEPT_BYTES,
    ) -> None:
        """Have `fetch` give code by its hash, and `put` lay it into Ray's store.

        `fetch` returns the error if there is no such code; what it raises says nothing of that.
        """
        self._fetch = fetch
        self._put = put
        self._most_bytes = most_bytes
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def reference(self, code_hash: str) -> Any:
        """Return the reference to code in Ray's store; raises what `put` raises.

        Raises:
            NotFound: there is no such code.
            Unanswered: it could not be asked for.
        """
        with self._lock:
            if code_hash in self._kept:
                self._kept.move_to_end(code_hash)
                return self._kept[code_hash].reference
        # Without the lock, as the scheduler may take its time. Fetched twice it does no harm.
        code = self._fetched(code_hash)
        kept = _Kept(self._put(code), len(code))
        with self._lock:
            self._kept[code_hash] = kept
            self._let_go()
        return kept.reference

    def _fetched(self, code_hash: str) -> bytes:
        try:
            answer = self._fetch(code_hash)
        except Exception as error:
            raise Unanswered(f"{type(error).__name__}: {error}") from error
        if isinstance(answer, NotFound):
            raise answer
        return answer

    def _let_go(self) -> None:
        """Forget the code launched longest ago, beyond what may be kept."""
        size = sum(each.size for each in self._kept.values())
        while size > self._most_bytes:
            _, oldest = self._kept.popitem(last=False)
            size -= oldest.size
