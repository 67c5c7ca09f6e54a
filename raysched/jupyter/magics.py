"""The magics: a line's words are read here, and everything else is the client's.

Law: words are split as a shell would, and no shell ever sees them; `{}` and `$` in them
mean nothing. What is wrong is told in the three lines of every error, without a traceback.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand

from raysched.client import history
from raysched.client.connect import connect
from raysched.core.states import State
from raysched.errors import InputError, NotRunning, RayschedError
from raysched.jupyter.cell import function_of
from raysched.show.text import harmless, instant, plain_rows
from raysched.spec.job import job

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")


class _Words(argparse.ArgumentParser):
    """The words of one magic; what is wrong with them is an error and no exit."""

    def __init__(self, magic: str, about: str) -> None:
        super().__init__(prog=magic, description=about, add_help=False, allow_abbrev=False)

    def of(self, line: str) -> argparse.Namespace:
        """Return the values that a line gives.

        Raises:
            InputError: a word too many or too few, or an open quote.
        """
        try:
            words = shlex.split(line)
        except ValueError as error:
            self.error(str(error))
        return self.parse_args(words)

    def error(self, message: str) -> NoReturn:
        usage = " ".join(self.format_usage().split())
        raise InputError(f"{self.prog}: {message}.", why=usage)


def _runs_words() -> _Words:
    words = _Words("%runs", "Return runs as a DataFrame.")
    words.add_argument("--since", default="24h")
    words.add_argument("--status", choices=[str(state) for state in State])
    words.add_argument("--job")
    return words


def _cell_words() -> _Words:
    words = _Words("%%rsched", "Make the cell a scheduled job.")
    words.add_argument("schedule", metavar='"CRON"')
    words.add_argument("--name", required=True)
    words.add_argument("--tz", default="UTC")
    return words


def _told(magic: Callable[..., T]) -> Callable[..., T]:
    """Make a magic tell its errors in three lines, without a traceback."""

    @wraps(magic)
    def telling(*arguments: Any) -> T:
        try:
            return magic(*arguments)
        except RayschedError as error:
            raise UsageError(harmless(error)) from None

    return telling


@magics_class
class RayschedMagics(Magics):  # type: ignore[misc]  # IPython's has no types
    """`%runs` and `%%rsched`."""

    @no_var_expand
    @line_magic
    @_told
    def runs(self, line: str) -> pd.DataFrame:
        """Return runs as a DataFrame: %runs [--since 24h] [--status failed] [--job NAME].

        Of the running scheduler; straight from the files of the home if there is none.
        `--since all` is all of them.
        """
        words = _runs_words().of(line)
        asked = {"since": None if words.since == "all" else words.since}
        asked |= {"status": words.status, "job": words.job}
        try:
            client = connect(start=False)
        except NotRunning:
            return history.runs(**asked)
        return client.runs(**asked)

    @no_var_expand
    @cell_magic
    @_told
    def rsched(self, line: str, cell: str) -> None:
        """Make the cell a scheduled job: %%rsched "0 6 * * *" --name NAME [--tz ZONE].

        The cell is not run now. It becomes a function without parameters over the
        notebook's variables that it reads, as they are now; its last expression is the
        result. The same cell again changes nothing.
        """
        words = _cell_words().of(line)
        function = function_of(cell, self.shell.user_ns)
        declared = job(name=words.name, schedule=words.schedule, timezone=words.tz)(function)
        client = connect(start=False)
        (row,) = plain_rows(client.deploy(declared, show=False))
        first = instant(row["next_slot"], words.tz) or "none"
        paused = " It is paused." if row["paused"] else ""
        print(f"job {row['job']} is {row['action']}, version {row['version']}.{paused}")
        for each in row["warnings"]:
            print(f"warning: {harmless(each)}")
        print(f'next slot: {first}; now: rs.connect().trigger("{row["job"]}").watch()')


def load(shell: Any) -> None:
    """Register the magics with an IPython shell."""
    shell.register_magics(RayschedMagics)
