"""An attempt's output: whole lines in the order they came, and no more than its cap.

The head of the output is kept, then a ring of its end; what fell out between is
counted. Lines stay together as they arrived, packed into records, so that a
flood costs the guard next to nothing for each line. No I/O and no clock here.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from raysched.runners.guard.wire import RECORD, STREAMS

LINE_MAX = 64 * 1024  # longer lines are cut; a chunk that is fed must not be longer than this
_MIB = 1024 * 1024


class _Record(NamedTuple):
    ts_us: int
    first: int
    lines: int
    packed: bytes


class CappedLog:
    """The lines of one attempt, bounded in memory whatever the attempt writes.

    `limit` is in bytes and counts the few bytes that each record takes beside
    its text. Three quarters are the head, which may be handed out while the
    attempt runs; the rest is the ring, which waits for the end, as only then is
    it known which lines stay.
    """

    def __init__(self, limit: int, first_line: int = 1) -> None:
        self._limit = limit
        self._next = first_line
        self._partial = [b""] * len(STREAMS)
        self._head = bytearray()
        self._head_room = limit * 3 // 4
        self._head_open = True
        self._ring: deque[_Record] = deque()
        self._ring_room = limit - self._head_room
        self._ring_size = 0
        self._piece = max(1, min(LINE_MAX, self._ring_room // 16))
        self._dropped: _Record | None = None  # the first that fell out of the ring
        self._dropped_lines = self._dropped_bytes = 0
        self._notes: list[bytes] = []

    def feed(self, stream: int, chunk: bytes, ts_us: int) -> None:
        """Take in what a stream gave: its complete lines now, the rest with its end."""
        data = self._partial[stream] + chunk
        end = data.rfind(b"\n") + 1
        lines, rest = data[:end], data[end:]
        # Only the first line can be too long: all others came whole within one chunk.
        while lines.find(b"\n") > LINE_MAX:
            lines = self._cut(stream, lines, ts_us)
        if lines:
            self._add(stream, lines, ts_us)
        while len(rest) > LINE_MAX:
            rest = self._cut(stream, rest, ts_us)
        self._partial[stream] = rest

    def close(self, ts_us: int) -> None:
        """Count the unfinished last lines as lines: nothing more will come."""
        for stream, rest in enumerate(self._partial):
            if rest:
                self._add(stream, rest + b"\n", ts_us)
        self._partial = [b""] * len(STREAMS)

    def note(self, text: str, ts_us: int) -> None:
        """Add a line of raysched's own, whatever the cap."""
        line = f"[raysched: {' '.join(text.split())}]\n".encode()  # a process may name itself "\n"
        packed = self._pack(1, line, ts_us, self._take_numbers(1))
        if self._head_open:
            self._head += packed
        else:
            self._notes.append(packed)

    def take(self) -> bytes:
        """Return, once, the packed records that are certain to stay."""
        taken = bytes(self._head)
        self._head.clear()
        return taken

    def rest(self) -> bytes:
        """Return all that was not taken yet, with one line for what was left out."""
        gap = [self._gap()] if self._dropped else []
        ring = [record.packed for record in self._ring]
        return b"".join([self.take(), *gap, *ring, *self._notes])

    def _cut(self, stream: int, data: bytes, ts_us: int) -> bytes:
        end = LINE_MAX
        while end > LINE_MAX - 4 and data[end] & 0xC0 == 0x80:
            end -= 1  # not in the middle of a UTF-8 character
        self._add(stream, data[:end] + b"\n", ts_us)
        return data[end:]

    def _add(self, stream: int, lines: bytes, ts_us: int) -> None:
        if self._head_open:
            lines = self._add_to_head(stream, lines, ts_us)
        while lines:
            end = len(lines)
            if end > self._piece:
                end = lines.rfind(b"\n", 0, self._piece) + 1 or lines.find(b"\n") + 1
            self._add_to_ring(stream, lines[:end], ts_us)
            lines = lines[end:]

    def _add_to_head(self, stream: int, lines: bytes, ts_us: int) -> bytes:
        """Keep the lines that fit, and return the others."""
        room = self._head_room - RECORD.size
        end = len(lines)
        if end > room:
            self._head_open = False  # for good: a later, shorter line must not overtake
            end = lines.rfind(b"\n", 0, max(room, 0)) + 1
        kept = lines[:end]
        if kept:
            first = self._take_numbers(kept.count(b"\n"))
            self._head += self._pack(stream, kept, ts_us, first)
            self._head_room -= RECORD.size + end
        return lines[end:]

    def _add_to_ring(self, stream: int, lines: bytes, ts_us: int) -> None:
        count = lines.count(b"\n")
        first = self._take_numbers(count)
        record = _Record(ts_us, first, count, self._pack(stream, lines, ts_us, first))
        self._ring.append(record)
        self._ring_size += len(record.packed)
        # The newest record always stays: the last words matter most.
        while self._ring_size > self._ring_room and len(self._ring) > 1:
            oldest = self._ring.popleft()
            self._ring_size -= len(oldest.packed)
            self._dropped = self._dropped or oldest
            self._dropped_lines += oldest.lines
            self._dropped_bytes += len(oldest.packed) - RECORD.size

    def _gap(self) -> bytes:
        assert self._dropped
        cap = f"{self._limit:,} bytes"
        if self._limit and self._limit % _MIB == 0:
            cap = f"{self._limit // _MIB:,} MiB"
        size, lines = self._dropped_bytes, self._dropped_lines
        text = f"{size:,} bytes ({lines:,} lines) left out: the log is capped at {cap}"
        # It takes the number of the first line left out, so that numbers stay unique and in order.
        line = f"[raysched: {text}]\n".encode()
        return self._pack(1, line, self._dropped.ts_us, self._dropped.first)

    def _take_numbers(self, count: int) -> int:
        first = self._next
        self._next += count
        return first

    @staticmethod
    def _pack(stream: int, lines: bytes, ts_us: int, first: int) -> bytes:
        return RECORD.pack(ts_us, stream, first, len(lines)) + lines
