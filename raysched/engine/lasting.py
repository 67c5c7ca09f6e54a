"""Objects that last as long as their process, kept out of the cyclic collector's sight.

It touches the whole process, and so belongs to a process that is the scheduler's alone.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def lasting() -> Iterator[None]:
    """Keep the cyclic collector away from what is made in here, now and later.

    Of the objects of very many jobs none is garbage. To look at them all takes longer than
    to make them, and later every look would hold the scheduler up: a second for a million.
    """
    gc.unfreeze()
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was:
            gc.enable()
