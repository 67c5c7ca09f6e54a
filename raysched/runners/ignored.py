"""What a `.dockerignore` leaves out of a folder, by the rules of `docker build`.

A pattern leaves out what it fits and all that lies below; of several, the last one that
fits decides, and one that begins with `!` takes back in. No Docker here.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

_TOKEN = re.compile(
    r"""
    (?P<deep> \*\*/? ) | (?P<star> \* ) | (?P<one> \? )
    | (?P<range> \[ \^? (?: (?: \\. | [^\\\]-] ) (?: - (?: \\. | [^\\\]-] ) )? )+ \] )
    | \\ (?P<escaped> . ) | (?P<plain> [^*?\[\\] )
    """,
    re.DOTALL | re.VERBOSE,
)
_SPECIAL_IN_RANGE = re.compile(r"(?<!^)(?<!\\)[\[&~|]")
_WILD = frozenset("*?[]\\")


class Pattern(NamedTuple):
    """One line, of a path from the folder."""

    text: str
    exception: bool  # it takes back in
    form: re.Pattern[str]

    def fits(self, path: str) -> bool:
        """Whether it speaks of a path itself."""
        return self.form.fullmatch(path) is not None


def parse(text: str) -> list[Pattern]:
    """Return the patterns of a `.dockerignore`.

    Raises:
        ValueError: one is malformed; says which.
    """
    lines = [line for line in text.split("\n") if not line.startswith("#")]
    return [pattern(line.strip()) for line in lines if line.strip()]


def pattern(line: str) -> Pattern:
    """Return one pattern.

    Raises:
        ValueError: it is malformed.
    """
    exception = line.startswith("!")
    given = line[exception:].strip()
    if not given:
        raise ValueError(f"{line!r} takes nothing back in")
    path = posixpath.normpath(given).lstrip("/") or "/"
    try:
        return Pattern(path, exception, re.compile(_form(path), re.DOTALL))
    except (ValueError, re.error) as error:
        raise ValueError(f"{line!r}: {error}") from None


def _form(path: str) -> str:
    tokens = list(_TOKEN.finditer(path))
    if sum(len(token[0]) for token in tokens) != len(path):
        raise ValueError("a bracket is not closed, or nothing follows a backslash")
    return "".join(_part(token, path) for token in tokens)


def _part(token: re.Match[str], path: str) -> str:
    rest = path[token.end() :]
    match token.lastgroup:
        case "deep":
            # `**.log` is any name that ends so, at any depth; `**.l?g` is not.
            anything = not rest or (
                token[0] == "**" and token.start() == 0 and not _WILD & set(rest)
            )
            return ".*" if anything else "(?:.*/)?"
        case "star":
            return "[^/]*"
        case "one":
            return "[^/]"
        case "range":
            return _SPECIAL_IN_RANGE.sub(r"\\\g<0>", token[0])
        case kind:
            return re.escape(token[kind or 0])


def kept(root: Path, patterns: Sequence[Pattern]) -> Iterator[str]:
    """Yield the paths of what is left of a folder: files, links and folders; none is followed."""
    folders: list[tuple[str, Sequence[bool]]] = [("", [False] * len(patterns))]
    while folders:
        above, fitting_above = folders.pop()
        for entry in os.scandir(root / above):
            path = f"{above}{entry.name}"
            out, fitting = _left_out(path, patterns, fitting_above)
            if not out:
                yield path
            if entry.is_dir(follow_symlinks=False) and (not out or _reached(path, patterns)):
                folders.append((f"{path}/", fitting))


def _left_out(
    path: str, patterns: Sequence[Pattern], above: Sequence[bool]
) -> tuple[bool, Sequence[bool]]:
    """Return whether a path is left out, and which patterns fit it or the folder it lies in."""
    out, fitting = False, []
    for each, fits_above in zip(patterns, above, strict=True):
        # One that would change nothing here is not asked, nor passed on to what lies below.
        fits = fits_above or (each.exception == out and each.fits(path))
        fitting.append(fits)
        if fits:
            out = not each.exception
    return out, fitting


def _reached(folder: str, patterns: Sequence[Pattern]) -> bool:
    """Whether an exception may name what lies below a folder that is left out."""
    return any(
        each.exception and (_WILD & set(each.text) or f"{each.text}/".startswith(f"{folder}/"))
        for each in patterns
    )
