"""Beside the home: answers who does not see it, in pieces, and holds little of an answer.

Law: an answer is made as its pieces are asked for, so that two of them, and a batch of
a file, are all that is held of it. An answer that nobody goes on asking for is
forgotten; who comes back asks from the beginning.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
from pyarrow import ipc

from raysched.store import query, results
from raysched.store.archive import Question
from raysched.store.schema import schema_of
from raysched.store.summary import Summary, summary

PIECE_BYTES = 4 * 1024 * 1024
_MOST = 32  # answers that are under way
_PATIENCE_S = 60.0  # with who does not ask for the next piece

_OPTIONS = ipc.IpcWriteOptions(compression="zstd")


class Piece(NamedTuple):
    """A part of an answer: rows as an Arrow stream, and who to name for the next; "" at the end."""

    rows: bytes
    more: str


@dataclass(slots=True)
class _Answer:
    pieces: Iterator[bytes]
    used: float
    ahead: bytes | None = None
    number: int = 0
    last: Piece | None = None
    turn: threading.Lock = field(default_factory=threading.Lock)


class Desk:
    """Answers for one home; threads may share it."""

    def __init__(
        self,
        home: str | Path,
        state_url: str | None = None,
        *,
        piece_bytes: int = PIECE_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._home, self._state_url = home, state_url
        self._piece_bytes, self._clock = piece_bytes, clock
        self._answers: dict[str, _Answer] = {}
        self._lock = threading.Lock()

    def ask(self, question: Question) -> Piece:
        """Return the first piece of the answer.

        Raises:
            InputError: the question makes no sense.
            StoreError: a file or the database is damaged.
        """
        schema_of(question.dataset)
        batches = query.batches(
            self._home, question.dataset, state_url=self._state_url, **question.filters
        )
        answer = _Answer(_pieces(question.dataset, batches, self._piece_bytes), self._clock())
        answer.ahead = next(answer.pieces)
        name = uuid.uuid4().hex
        with self._lock:
            self._forget()
            self._answers[name] = answer
        first = self.more(name, 0)
        assert first is not None
        return first

    def more(self, name: str, number: int) -> Piece | None:
        """Return a piece of an answer: the next, or the last one again.

        None if it is forgotten: then ask from the beginning.

        Raises:
            StoreError: a file is damaged.
        """
        with self._lock:
            answer = self._answers.get(name)
        if answer is None:
            return None
        with answer.turn:
            answer.used = self._clock()
            if number == answer.number - 1:
                return answer.last
            if number != answer.number or answer.ahead is None:
                return None
            try:
                rows, answer.ahead = answer.ahead, next(answer.pieces, None)
            except BaseException:
                self._answers.pop(name, None)  # asked again it would seem to end here
                raise
            answer.last = Piece(rows, name if answer.ahead is not None else "")
            answer.number += 1
            if answer.ahead is None:
                answer.pieces = iter(())
                if number == 0:  # most answers are one piece, and are not kept
                    with self._lock:
                        self._answers.pop(name, None)
            return answer.last

    def summary(self) -> list[Summary]:
        """Return what the home's files hold; see `store.summary`."""
        return summary(self._home)

    def resolve(self, prefix: str) -> list[str]:
        """Return ids of runs that begin with a prefix; see `query.resolve`."""
        return query.resolve(self._home, prefix, state_url=self._state_url)

    def file(self, path: str, offset: int) -> bytes:
        """Return a piece of a result's file from `offset` on; none is left when it is empty.

        Raises:
            StoreError: the path is not one of a result, or the file is gone.
        """
        return results.read_piece(self._home, path, offset, self._piece_bytes)

    def _forget(self) -> None:
        """Drop answers that nobody goes on asking for, and the oldest of too many."""
        before = self._clock() - _PATIENCE_S
        by_age = sorted(self._answers, key=lambda name: self._answers[name].used)
        for n, name in enumerate(by_age):
            if self._answers[name].used < before or len(by_age) - n >= _MOST:
                del self._answers[name]


def _pieces(dataset: str, batches: Iterator[pa.RecordBatch], most: int) -> Iterator[bytes]:
    """Gather batches into streams of about one size; one without rows if there are none."""
    held: list[pa.RecordBatch] = []
    size, empty = 0, True
    for batch in batches:
        rows = max(1, batch.num_rows * most // max(1, batch.nbytes))
        for first in range(0, batch.num_rows, rows):
            part = batch.slice(first, rows)
            if held and size + part.nbytes > most:
                yield _stream(dataset, held)
                held, size = [], 0
            held.append(part)
            size, empty = size + part.nbytes, False
    if held or empty:
        yield _stream(dataset, held)


def _stream(dataset: str, batches: list[pa.RecordBatch]) -> bytes:
    sink, schema = pa.BufferOutputStream(), schema_of(dataset)
    with ipc.new_stream(sink, schema, options=_OPTIONS) as stream:
        stream.write_table(pa.Table.from_batches(batches, schema).combine_chunks())
    return bytes(sink.getvalue())
