"""The messages between a guard, its worker, and callers from elsewhere.

A frame is its body's length, its kind, and the body, all in fixed structs: a
peer's bytes are read, never evaluated. Attempts are named by their mark (the
SHA-256 of their key), so that untrusted keys come no further than the caller.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

MARK_VARIABLE = "RAYSCHED_ATTEMPT_MARK"
SAMPLE_S = 0.5  # how long an attempt lasts before its children's memory is sampled, and between
STREAMS = ("stdout", "stderr", "build")  # "build": what came before a container's own output
VERDICTS = (None, "timed_out", "cancelled")


class Kind(IntEnum):
    """What a frame says."""

    WATCH = 1  # worker: an attempt begins
    TAIL = 2  # worker: which lines since I last asked?
    RELEASE = 3  # worker: the attempt is over
    BASELINE = 4  # guard: the processes that the worker had before the attempt
    LINES = 5  # guard: the answer to TAIL
    WORDS = 6  # guard: the answer to RELEASE, and what a file of last words holds
    STOP = 7  # anyone of this user: end this attempt
    AWAIT = 8  # anyone of this user: hang up once this attempt's last words are written
    YES = 9  # guard: this attempt will end
    NO = 10  # guard: this is not the attempt under way


_FRAME = struct.Struct("<IBI")
_WATCH = struct.Struct("<64sddQQ?H")
_RELEASE = struct.Struct("<?")
_STOP = struct.Struct("<64sd")
_WORDS = struct.Struct("<BQH")
_PID = struct.Struct("<I")
_IDENTITY = struct.Struct("<IQ")
SERIAL = struct.Struct("<I")
# A mailbox: the number of the terms that the guard has taken up, of those that stand, the terms.
TAKEN_AT, NUMBER_AT, TERMS_AT = 0, SERIAL.size, 2 * SERIAL.size
NO_TERMS = 0
RECORD = struct.Struct("<qBQI")  # UTC microseconds, stream, number of the first line, size


class Frame(NamedTuple):
    """One message; an answer carries the serial number of its request."""

    kind: Kind
    serial: int
    body: bytes


class FrameError(ValueError):
    """Raised when bytes are no frame of this protocol."""


def frame(kind: Kind, serial: int = 0, body: bytes = b"") -> bytes:
    """Return the bytes of a frame."""
    return _FRAME.pack(len(body), kind, serial) + body


class Inbox:
    """Cuts a stream of bytes into frames, and refuses those larger than it was told to take."""

    def __init__(self, largest: int = 1 << 30) -> None:
        self._bytes = bytearray()
        self._largest = largest

    def feed(self, chunk: bytes) -> None:
        """Take in what a socket gave."""
        self._bytes += chunk

    def frames(self) -> Iterator[Frame]:
        """Yield the frames that are complete.

        Raises:
            FrameError: when the bytes are no frame.
        """
        while len(self._bytes) >= _FRAME.size:
            size, kind, serial = _FRAME.unpack_from(self._bytes)
            if size > self._largest or not 1 <= kind <= len(Kind):
                raise FrameError(f"a frame of kind {kind} with {size} bytes")
            end = _FRAME.size + size
            if len(self._bytes) < end:
                return
            body = bytes(self._bytes[_FRAME.size : end])
            del self._bytes[:end]
            yield Frame(Kind(kind), serial, body)


Identity = tuple[int, int]
"""A process: its pid and its start time in clock ticks, as pids are used again."""


class Watch(NamedTuple):
    """The terms under which an attempt is watched."""

    mark: bytes
    began: float  # CLOCK_MONOTONIC, which worker and guard share
    timeout_s: float  # infinite if there is none
    log_limit: int
    first_line: int = 1  # not 1 when a new guard takes an attempt over
    look: bool = False  # the worker has children already: see which, and answer with them
    baseline: frozenset[Identity] = frozenset()
    notice: bytes = b""

    def pack(self) -> bytes:
        """Return the body of a WATCH frame."""
        mark, *numbers, baseline, notice = self
        head = _WATCH.pack(mark, *numbers, len(baseline))
        return head + pack_identities(baseline) + notice

    @classmethod
    def unpack(cls, body: bytes) -> Watch:
        """Return what a WATCH frame's body says."""
        mark, began, timeout_s, log_limit, first_line, look, known = _WATCH.unpack_from(body)
        end = _WATCH.size + known * _IDENTITY.size
        baseline = unpack_identities(body[_WATCH.size : end])
        return cls(mark, began, timeout_s, log_limit, first_line, look, baseline, body[end:])


def pack_identities(processes: frozenset[Identity]) -> bytes:
    """Return the body of a BASELINE frame."""
    return b"".join(_IDENTITY.pack(*process) for process in processes)


def unpack_identities(body: bytes) -> frozenset[Identity]:
    """Return the processes that a BASELINE frame's body names."""
    return frozenset((pid, start) for pid, start in _IDENTITY.iter_unpack(body))


def pack_release(*, children: bool) -> bytes:
    """Return the body of a RELEASE frame; `children` says whether the worker has any."""
    return _RELEASE.pack(children)


def unpack_release(body: bytes) -> bool:
    """Return whether the worker that sends a RELEASE frame has children."""
    (children,) = _RELEASE.unpack(body)
    return bool(children)


def pack_stop(mark: bytes, grace_s: float = 0.0) -> bytes:
    """Return the body of a STOP or AWAIT frame."""
    return _STOP.pack(mark, grace_s)


def unpack_stop(body: bytes) -> tuple[bytes, float]:
    """Return the mark and the grace that a STOP or AWAIT frame's body names."""
    mark, grace_s = _STOP.unpack(body)
    return mark, grace_s


class Words(NamedTuple):
    """What the guard knows at the end of an attempt."""

    verdict: int  # an index into VERDICTS
    peak: int  # bytes
    zombies: list[int]  # dead children of the worker that nobody waited for
    records: bytes

    def pack(self) -> bytes:
        """Return the body of a WORDS frame."""
        zombies = self.zombies[:0xFFFF]
        head = _WORDS.pack(self.verdict, self.peak, len(zombies))
        return head + b"".join(map(_PID.pack, zombies)) + self.records

    @classmethod
    def unpack(cls, body: bytes) -> Words:
        """Return what a WORDS frame's body says."""
        verdict, peak, dead = _WORDS.unpack_from(body)
        end = _WORDS.size + dead * _PID.size
        zombies = [pid for (pid,) in _PID.iter_unpack(body[_WORDS.size : end])]
        return cls(verdict, peak, zombies, body[end:])


def unpack_lines(records: bytes) -> Iterator[tuple[int, str, int, bytes]]:
    """Yield timestamp, stream, line number and bytes of each line in packed records."""
    at = 0
    while at < len(records):
        ts_us, stream, number, size = RECORD.unpack_from(records, at)
        at += RECORD.size
        lines = records[at : at + size - 1].split(b"\n")  # without the last newline
        at += size
        for offset, line in enumerate(lines):
            yield ts_us, STREAMS[stream], number + offset, line
