"""The archive of a home that is elsewhere: a desk beside it is asked, piece by piece."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import ipc

from raysched.errors import StoreError
from raysched.store import reader, results
from raysched.store.archive import Question
from raysched.store.desk import Piece
from raysched.store.home import LocalHome, storing
from raysched.store.schema import schema_of

if TYPE_CHECKING:
    import pandas as pd

    from raysched.store.home import Home
    from raysched.store.summary import Summary

Call = Callable[..., Any]
"""Calls a method of a `Desk` by its name, and returns or raises what it does."""

_TRIES = 3


class _Forgotten(StoreError):
    """Raised when the desk does not know an answer any more that is half read."""


class DistantArchive:
    """An `Archive` over a desk."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def frame(self, question: Question) -> pd.DataFrame:
        for _ in range(_TRIES):
            with suppress(_Forgotten):
                table = pa.Table.from_batches(self.batches(question), schema_of(question.dataset))
                return reader.to_frame(reader.once(question.dataset, table, table.num_rows))
        raise _Forgotten(
            "the history could not be read to its end.",
            why=f"the process that reads it beside the home was replaced {_TRIES} times.",
            fix="try again, or ask for less.",
        )

    def batches(self, question: Question) -> Iterator[pa.RecordBatch]:
        piece: Piece | None = self._call("ask", question)
        number = 1
        while piece is not None:
            with ipc.open_stream(piece.rows) as stream:
                yield from stream
            if not piece.more:
                return
            piece = self._call("more", piece.more, number)
            number += 1
        raise _Forgotten(
            "the history could not be read to its end.",
            why="the process that reads it beside the home was replaced, or waited too long.",
            fix="try again.",
        )

    def summary(self) -> list[Summary]:
        return list(self._call("summary"))

    def resolve(self, prefix: str) -> list[str]:
        return list(self._call("resolve", prefix))

    @contextmanager
    def holding(self, path: str) -> Iterator[Home]:
        results.check_published(path)  # before it names a file here
        with (
            storing(f"the result {path} cannot be fetched."),
            TemporaryDirectory(prefix="raysched-") as root,
        ):
            file = Path(root) / path
            os.makedirs(file.parent)
            with file.open("wb") as sink:
                while piece := self._call("file", path, sink.tell()):
                    sink.write(piece)
            yield LocalHome(root)

    def __str__(self) -> str:
        return "the home, which is on another node"
