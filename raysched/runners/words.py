"""What a guard hands out about an attempt: its lines and its last words, as values.

Bytes become text here, and nowhere else. No sockets, no processes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal, cast

from raysched.runners.guard import wire

Stream = Literal["stdout", "stderr", "build"]
Verdict = Literal["timed_out", "cancelled"]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an attempt's output."""

    ts_us: int  # UTC microseconds at which the guard received it
    stream: Stream
    line_no: int  # from 1 within an attempt, over both streams; lines left out count too
    text: str


@dataclass(frozen=True, slots=True)
class LastWords:
    """Everything that the guard knows at the end of an attempt."""

    lines: list[Line]  # those that `Guard.tail` has not handed out
    verdict: Verdict | None  # why the guard ended it, if it did
    peak_children_bytes: int  # highest sampled sum over all descendants, 0 if there were none


def mark_of(key: str) -> bytes:
    """Return the name under which sockets, files and environments know an attempt.

    A key may hold anything, a mark is 64 hexadecimal digits.
    """
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest().encode()


def read_lines(records: bytes) -> list[Line]:
    """Return the lines in a guard's records, as text that every reader copes with."""
    return [
        Line(ts_us, cast(Stream, stream), number, _text(line))
        for ts_us, stream, number, line in wire.unpack_lines(records)
    ]


def read_words(words: wire.Words) -> LastWords:
    """Return a guard's last words as a value."""
    verdict = cast("Verdict | None", wire.VERDICTS[words.verdict])
    return LastWords(read_lines(words.records), verdict, words.peak)


def _text(line: bytes) -> str:
    text = line.removesuffix(b"\r").decode("utf-8", "backslashreplace")
    return text.replace("\0", "\\x00")
