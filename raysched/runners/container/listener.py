"""Reads a container's log off the engine into its `Output`, whatever breaks on the way."""

from __future__ import annotations

import threading
from contextlib import suppress

from raysched.runners.container.engine import Engine
from raysched.runners.container.faults import Absent, Away, Quiet, Refused
from raysched.runners.container.frames import Frames
from raysched.runners.container.output import Output
from raysched.runners.container.stream import Stream

_QUIET_S = 60.0  # after so long without output a stream is opened anew: some hang for ever
_PAUSE_S = 0.1
_LAST_S = 15.0
_SHORT_S = 0.1  # the log of a container that has ended by then is read in one piece


class Listener(threading.Thread):
    """Follows one container's log until it is told that the container is over."""

    def __init__(
        self, engine: Engine, container: str, output: Output, *, patience_s: float = _LAST_S
    ) -> None:
        super().__init__(daemon=True, name="raysched-log")
        self._engine, self._container, self._output = engine, container, output
        self._patience_s = patience_s
        self._over = threading.Event()
        self._followed: Stream | None = None

    def run(self) -> None:
        """Read once the container has lasted; after a break, read on."""
        pause = _PAUSE_S / 10
        self._over.wait(_SHORT_S)
        while not self._over.is_set():
            whole = self._read(follow=True)
            # The stream of a container that goes on may end well, with its engine.
            self._over.wait(_PAUSE_S if whole else pause)
            pause = min(1.0, pause * 2)
        # Also after a stream that ended well: the engine ends some before a last line
        # that has no newline. Once the container's death is told, its log is complete.
        self._read(follow=False)

    def rest(self) -> None:
        """The container has died: take in what is left of its log, and follow it no more."""
        self._over.set()

    def finish(self) -> None:
        """Return once what is left of the log is taken in."""
        self._over.set()
        self.join(self._patience_s)
        if (stream := self._followed) is not None:
            stream.abort()
        self.join()  # the last reading ends with the log, or with a silence

    def _read(self, *, follow: bool) -> bool:
        """Read a stream to its end, and say whether that is the log's."""
        with suppress(Absent, Away, Quiet, Refused):
            since = self._output.resume()
            stream = self._engine.logs(
                self._container, since, follow=follow, quiet_s=_QUIET_S if follow else _LAST_S
            )
            self._followed = stream if follow else None
            frames = Frames()
            with stream:
                for chunk in stream.chunks():
                    self._output.feed(frames.feed(chunk))
            return True
        return False
