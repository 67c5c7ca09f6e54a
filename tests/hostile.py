"""A value that raises whatever is asked of it: an error about it must be told all the same."""

from __future__ import annotations


class Hostile:
    """Answers nothing but its type."""

    def __repr__(self):
        raise RuntimeError("boo")

    __eq__ = __hash__ = __bool__ = __len__ = __iter__ = __float__ = __repr__
    __lt__ = __gt__ = __le__ = __ge__ = __repr__
