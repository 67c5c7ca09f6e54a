"""Where something is shown while it changes: a notebook's cell, a terminal, or nowhere.

Law: one place, drawn over; what is shown last stays in a notebook.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any, Protocol

from raysched.show.card import Card
from raysched.show.html import html
from raysched.show.terminal import drawn, heading, whole

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live


class Stage(Protocol):
    """A place that shows one card at a time."""

    def show(self, card: Card) -> None:
        """Show a card in the place of the one before."""

    def close(self, last: Card | None = None) -> None:
        """Leave one last card, if there is one to leave; what comes next is written below."""


class Cell:
    """A place in the output of a notebook's cell."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, card: Card) -> None:
        """Show a card in the place of the one before."""
        from IPython.display import display

        put: Any = display  # IPython's functions have no types
        bundle = {"text/html": html(card), "text/plain": heading(card)}
        if self._handle is None:
            self._handle = put(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)

    def close(self, last: Card | None = None) -> None:
        """Leave the last card in the output."""
        if last is not None:
            self.show(last)


class Screen:
    """A place in a terminal; nothing of it stays but a last card."""

    def __init__(self) -> None:
        self._live: Live | None = None

    def show(self, card: Card) -> None:
        """Show a card in the place of the one before."""
        from rich.live import Live

        if self._live is None:
            self._live = Live(console=self._console(), auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(drawn(card), refresh=True)

    def close(self, last: Card | None = None) -> None:
        """Give the terminal back, with the last card in it."""
        if self._live is not None:
            self._live.stop()
        if last is not None:
            self._console().print(drawn(last))

    @staticmethod
    def _console() -> Console:
        from rich.console import Console

        return Console(stderr=True, markup=False, highlight=False, emoji=False)


class Changes:
    """A stream that nothing can be drawn over: a line for each change of state."""

    def __init__(self) -> None:
        self._state = ""

    def show(self, card: Card) -> None:
        """Print a card's heading if its state is another than before."""
        if card.state != self._state:
            self._state = card.state
            print(heading(card), flush=True)

    def close(self, last: Card | None = None) -> None:
        """Print a last card's heading."""
        if last is not None:
            print(heading(last), flush=True)


class Nowhere:
    """No place: nobody looks."""

    def show(self, card: Card) -> None:
        """Do nothing."""

    def close(self, last: Card | None = None) -> None:
        """Do nothing."""


def tell(card: Card) -> None:
    """Show a card's facts once and whole, whoever reads: in a notebook's cell or on stderr."""
    text = whole(card)
    if shell() is None:
        print(text, file=sys.stderr, flush=True)
        return
    from IPython.display import display

    put: Any = display
    put({"text/html": html(card), "text/plain": text}, raw=True)


def shell() -> Any:
    """Return the IPython shell of the notebook kernel that this process is; None elsewhere."""
    interactive = sys.modules.get("IPython")
    found = interactive and interactive.get_ipython()
    return found if found is not None and hasattr(found, "kernel") else None


def cell() -> int | None:
    """Return the number of the notebook's cell that is being executed; None elsewhere."""
    found = shell()
    return None if found is None else int(found.execution_count)


def is_terminal() -> bool:
    """Whether a person reads standard output and standard error as they come."""
    return sys.stdout.isatty() and sys.stderr.isatty()


def for_watching() -> Stage:
    """Return where a run is shown that somebody watches."""
    if shell() is not None:
        return Cell()
    return Screen() if is_terminal() else Changes()


def for_waiting() -> Stage:
    """Return where a run is shown that a program waits for: in pipes and threads nowhere."""
    if threading.current_thread() is not threading.main_thread():
        return Nowhere()
    if shell() is not None:
        return Cell()
    return Screen() if is_terminal() else Nowhere()
