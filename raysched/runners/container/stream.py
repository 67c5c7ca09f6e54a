"""An answer of the engine that comes in pieces: a log, events, the words of a build."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from raysched.runners.container.faults import speaking


class Stream:
    """An answer that comes in pieces; `abort` ends it from any thread."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self.raw = answer.raw

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self._answer.close()

    def chunks(self) -> Iterator[bytes]:
        """Yield bytes as they come, to the stream's proper end.

        Raises:
            Away: it broke before that.
            Quiet: nothing came for too long.
        """
        with speaking():
            yield from self.raw.stream(1 << 16)

    def objects(self) -> Iterator[dict[str, Any]]:
        """Yield the JSON objects of which the stream has one a line."""
        rest = b""
        for chunk in self.chunks():
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (json.loads(line) for line in lines if line.strip())
        if rest.strip():
            yield json.loads(rest)

    def abort(self) -> None:
        """Wake who reads from the stream; it ends for him as a broken one."""
        with (
            suppress(OSError, ValueError, AttributeError),
            socket.socket(fileno=os.dup(self.raw.fileno())) as peer,
        ):
            peer.shutdown(socket.SHUT_RDWR)
