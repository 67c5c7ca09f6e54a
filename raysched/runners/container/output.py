"""An attempt's lines: each once, in order, numbered the same for every watcher.

Messages of the engine become lines here; secrets in them are masked before
anything keeps them. Lines that are certain to stay are also in the room's log, so
that a new watcher goes on where the last one was killed. No Docker here.
"""

from __future__ import annotations

import os
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from raysched.runners.container.frames import Message
from raysched.runners.guard.caplog import LINE_MAX, CappedLog
from raysched.runners.words import Line, read_lines

_RECORD = struct.Struct("<qBBI")  # nanoseconds, stream, whether a line ends, size of the text
_OURS = 2  # the third stream: builds, pulls, and what raysched itself has to say
_MARGIN_NS = 2_000_000_000  # the engine stamps two streams apart, and may write them swapped
_WINDOW = 8192
_SHORTEST_SECRET = 4


class Output:
    """The lines of one attempt; fed by its watcher, read from any thread."""

    def __init__(self, journal: Path, limit: int, secrets: Iterable[bytes] = ()) -> None:
        self._log = CappedLog(limit)
        self._limit = limit
        self._masks = _masks(secrets)
        self._overlap = max(map(len, self._masks), default=1) - 1
        self._lock = threading.Lock()
        self._parts: list[bytes] = [b"", b"", b""]
        self._pending: list[list[Message]] = [[], [], []]  # the messages behind those parts
        self._window: deque[tuple[int, int]] = deque()
        self._before = 0  # everything stamped up to here has left the window
        self._again: Counter[tuple[int, int]] = Counter()
        self._ended = self._emptied = False
        self._file = os.open(journal, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = self._recall()

    def resume(self) -> int:
        """Return the instant from which to ask the engine again; repeated messages are known."""
        with self._lock:
            last = max((ts for ts, _ in self._window), default=0)
            since = max(self._before + 1, last - _MARGIN_NS) if last else 0
            self._again = Counter(key for key in self._window if key[0] >= since)
            return since

    def feed(self, messages: Iterable[Message]) -> None:
        """Take in what the engine gave, less what it gave before."""
        with self._lock:
            if self._ended:
                return  # the journal is closed, and its number may be another file's
            records: list[bytes] = []
            for message in messages:
                key = message.ts_ns, message.stream
                if self._again and self._is_again(key):
                    continue
                self._remember(key)
                self._take(message, records)
            self._keep(records)

    def _is_again(self, key: tuple[int, int]) -> bool:
        """Whether a message was given before; in constant time, for there may be millions."""
        left = self._again.get(key, 0)
        if left > 1:
            self._again[key] = left - 1
        elif left:
            del self._again[key]
        return left > 0

    def say(self, text: str, *, build: bool = False) -> None:
        """Add lines of our own, or of a build."""
        now = time.time_ns()
        with self._lock:
            records: list[bytes] = []
            for line in text.splitlines():
                line_ = line if build else f"[raysched: {line}]"
                self._take(Message(now, _OURS, line_.encode() + b"\n"), records)
            self._keep(records)

    def tail(self) -> list[Line]:
        """Return, once, the lines that are certain to stay; after the end all the others."""
        with self._lock:
            if not self._ended:
                return read_lines(self._log.take())
            rest = b"" if self._emptied else self._log.rest()
            self._emptied = True
            return read_lines(rest)

    def finish(self) -> None:
        """Count unfinished lines as lines: nothing more will come."""
        with self._lock:
            if self._ended:
                return
            records: list[bytes] = []
            for stream in range(3):
                if self._parts[stream] or self._pending[stream]:
                    self._end_line(stream, records, b"\n")
            self._keep(records)
            self._log.close(time.time_ns() // 1000)

    def hand_over(self) -> None:
        """Let `tail` return also what had to wait for the end."""
        with self._lock:
            if not self._ended:
                self._ended = True
                os.close(self._file)

    def _take(self, message: Message, records: list[bytes]) -> None:
        stream = message.stream
        self._parts[stream] += message.data
        self._pending[stream].append(message)
        if self._parts[stream].endswith(b"\n"):
            self._end_line(stream, records)
        elif len(self._parts[stream]) > LINE_MAX:
            self._end_line(stream, records, keep=self._overlap)

    def _end_line(
        self, stream: int, records: list[bytes], end: bytes = b"", *, keep: int = 0
    ) -> None:
        """Hand on a line, or the part of it before what may be half a secret."""
        text = self._mask(self._parts[stream] + end)
        text, self._parts[stream] = text[: len(text) - keep], text[len(text) - keep :]
        pending, self._pending[stream] = self._pending[stream], []
        for part in pending[:-1]:
            records.append(_RECORD.pack(part.ts_ns, stream, 0, 0))
        ts_ns = pending[-1].ts_ns if pending else time.time_ns()
        records.append(_RECORD.pack(ts_ns, stream, 1, len(text)) + text)
        self._feed(stream, text, ts_ns)

    def _feed(self, stream: int, text: bytes, ts_ns: int) -> None:
        for at in range(0, len(text), LINE_MAX):
            self._log.feed(stream, text[at : at + LINE_MAX], ts_ns // 1000)

    def _mask(self, text: bytes) -> bytes:
        for value in self._masks:
            text = text.replace(value, b"***")
        return text

    def _remember(self, key: tuple[int, int]) -> None:
        self._window.append(key)
        if len(self._window) > _WINDOW:
            self._before = max(self._before, self._window.popleft()[0])

    def _keep(self, records: Sequence[bytes]) -> None:
        # What is past the cap is only certain at the end, and the engine has it until then.
        if not records or self._size > self._limit:
            return
        data = b"".join(records)
        written = 0
        with suppress(OSError):
            written = os.write(self._file, data)
        # On a full disk nothing more: a new watcher asks the engine for the rest.
        self._size = self._size + written if written == len(data) else self._limit + 1

    def _recall(self) -> int:
        """Take in what an earlier watcher kept, up to the record at which it was killed."""
        data, at = os.pread(self._file, os.fstat(self._file).st_size, 0), 0
        while len(data) - at >= _RECORD.size:
            ts_ns, stream, ends, size = _RECORD.unpack_from(data, at)
            end = at + _RECORD.size + size
            if end > len(data):
                break
            if stream != _OURS:
                self._remember((ts_ns, stream))
            if ends:
                self._feed(stream, data[at + _RECORD.size : end], ts_ns)
            at = end
        os.ftruncate(self._file, at)
        return at


def _masks(secrets: Iterable[bytes]) -> list[bytes]:
    """Return what to look for: each value, and each line of one that has several."""
    found: set[bytes] = set()
    for value in secrets:
        found.update(line.strip() for line in value.splitlines())
    return sorted((v for v in found if len(v) >= _SHORTEST_SECRET), key=len, reverse=True)
