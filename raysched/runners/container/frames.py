"""The engine's log as bytes, cut into messages: pure, and resumable anywhere.

A frame is a stream, a size and one log message: its stamp, a space, and up to
16 KiB of output that end in a newline unless the line goes on in the next frame
of its stream.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

_HEADER = struct.Struct(">BxxxI")


class Message(NamedTuple):
    """A line of output, or a part of a long one."""

    ts_ns: int
    stream: int  # 0 standard output, 1 standard error
    data: bytes


class Frames:
    """Cuts one connection's bytes into messages."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[Message]:
        """Yield the messages that are complete."""
        data, at = self._rest + chunk, 0
        while len(data) - at >= _HEADER.size:
            kind, size = _HEADER.unpack_from(data, at)
            end = at + _HEADER.size + size
            if end > len(data):
                break
            stamp, _, text = data[at + _HEADER.size : end].partition(b" ")
            yield Message(_nanoseconds(stamp), 1 if kind == 2 else 0, text)
            at = end
        self._rest = data[at:]


def _nanoseconds(stamp: bytes) -> int:
    # 2026-11-22T06:00:00.123456789Z, always with nine digits
    return _second(stamp[:19]) + int(stamp[20:29].ljust(9, b"0"))


@lru_cache(maxsize=16)
def _second(stamp: bytes) -> int:
    return int(datetime.fromisoformat(f"{stamp.decode()}+00:00").timestamp()) * 1_000_000_000


def moment(stamp: str) -> int | None:
    """Return an instant of the engine's JSON in nanoseconds, None for its year 1.

    It has from none to nine digits of a second, and an offset or Z.
    """
    if stamp.startswith("0001-"):
        return None
    whole, _, rest = stamp.partition(".")
    digits = rest.rstrip("Z").partition("+")[0].partition("-")[0]
    return _second(whole.rstrip("Z")[:19].encode()) + int(digits.ljust(9, "0") or 0)
