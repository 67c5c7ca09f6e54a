"""Values that raise whatever is asked of them: an error about one must be told all the same."""

from __future__ import annotations

import math


class Hostile:
    """Answers nothing but its type."""

    def _boo(self, *args):
        raise RuntimeError("boo")

    __repr__ = __str__ = __eq__ = __hash__ = __bool__ = __len__ = __iter__ = __lt__ = __le__ = _boo
    __gt__ = __ge__ = __float__ = __int__ = __index__ = __contains__ = __getitem__ = __add__ = _boo


class HostileText(str):
    """Text that lets nobody compare it."""

    __hash__ = str.__hash__

    def __eq__(self, other):
        raise RuntimeError("boo")


STRANGE = [Hostile(), object(), 1j, HostileText("boo"), math.nan, b"raw", NotImplemented, ...]
"""Values that no option means."""
