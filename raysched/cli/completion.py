"""Shell completion: which words fit, and how bash wants to be told.

Law: a hint is never an error, never slow, and never evaluated: only names of plain
characters are offered, for zsh evaluates what it is told.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterable, MutableMapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import typer

COMPLETE = "_RAYSCHED_COMPLETE"
_PLAIN = re.compile(r"[A-Za-z0-9_.@:+-]+", re.ASCII)
_BREAKS = re.compile("[:@=]+")
_MOST = 50


def jobs(context: typer.Context, incomplete: str) -> list[str]:
    """Return names of deployed jobs."""
    from raysched.store import peek

    return _fitting(lambda: peek.job_names(_home(context)), incomplete)


def tags(context: typer.Context, incomplete: str) -> list[str]:
    """Return tags of deployed jobs."""
    from raysched.store import peek

    return _fitting(lambda: peek.tags(_home(context)), incomplete)


def unfinished(context: typer.Context, incomplete: str) -> list[str]:
    """Return ids of runs that are not over."""
    from raysched.store import peek

    return _fitting(lambda: peek.unfinished(_home(context), incomplete, _MOST), incomplete)


def finished(context: typer.Context, incomplete: str) -> list[str]:
    """Return ids of runs that are over."""
    from raysched.store import peek

    return _fitting(lambda: peek.finished(_home(context), incomplete, _MOST), incomplete)


def runs(context: typer.Context, incomplete: str) -> list[str]:
    """Return ids of runs, those that are not over first."""
    return list(dict.fromkeys([*unfinished(context, incomplete), *finished(context, incomplete)]))


def runs_and_jobs(context: typer.Context, incomplete: str) -> list[str]:
    """Return names of jobs, and ids of runs once a job is named."""
    return jobs(context, incomplete) or runs(context, incomplete)


def _fitting(find: Callable[[], Iterable[str]], incomplete: str) -> list[str]:
    try:
        found = find()
        return [each for each in found if each.startswith(incomplete) and _PLAIN.fullmatch(each)]
    except Exception:  # whoever completes a word wants no traceback in their prompt
        return []


def _home(context: typer.Context) -> Path:
    """Return the home that the line names, the nearest to the word first, else the usual one."""
    place: Any = None
    at: Any = context
    while at is not None and place is None:
        source = at.get_parameter_source("home")
        place = at.params.get("home") if getattr(source, "name", "") == "COMMANDLINE" else None
        at = at.parent
    named = place or os.environ.get("RAYSCHED_HOME") or Path.home() / "raysched"
    return Path(named).expanduser()


def for_bash(complete: Callable[[], object], environment: MutableMapping[str, str]) -> object:
    """Complete a word that bash has taken apart, and answer with the part that is missing.

    To bash `:`, `@` and `=` end a word, so that a run's id reaches us in pieces; what it
    gets back takes the place of the last piece alone.
    """
    words, at, known = joined(
        environment.get("COMP_WORDS", "").split("\n"), int(environment.get("COMP_CWORD", "0"))
    )
    environment.update(COMP_WORDS="\n".join(words), COMP_CWORD=str(at))
    told = io.StringIO()
    try:
        with redirect_stdout(told):
            complete()
    except SystemExit as end:  # as Typer ends a completion
        code = end.code
    else:
        code = 0
    for word in told.getvalue().split():
        print(word.removeprefix(known))
    return code


def joined(words: list[str], at: int) -> tuple[list[str], int, str]:
    """Return words put together again, which one is meant, and how much of it bash keeps."""
    whole: list[str] = []
    place, known, open_end = 0, "", False
    for n, word in enumerate(words[: at + 1]):
        is_break = bool(_BREAKS.fullmatch(word))
        if whole and n > 1 and (is_break or open_end):
            known = whole[-1] + (word if is_break else "")
            whole[-1] += word
        else:
            known = ""
            whole.append(word)
        open_end = is_break
        place = len(whole) - 1
    return whole, place, known
