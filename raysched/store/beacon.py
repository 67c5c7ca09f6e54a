"""Tells the home from a folder that only has its path, or its contents.

Law: never a guess. Who lives beside the home writes a word into it that is drawn anew
each time; whoever is told the word by another way, and finds it in what looks like the
home, sees the home. A copy, however exact, holds an older word.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from raysched.errors import StoreError
from raysched.store.home import STAGING, Home, open_home, storing


def light(home: str | Path | Home, name: str, word: str) -> None:
    """Write the word of `name`, in the place of its former one.

    Raises:
        StoreError: the home cannot be written.
    """
    place = open_home(home)
    temp = place.new_temp()
    with storing(f"the home {place.path('')} cannot be marked."):
        place.stage(temp, lambda file: file.write(word.encode()))
        place.place(temp, _path(name))


def seen(home: str | Path | Home, name: str, word: str) -> Home | None:
    """Return the home if it is here: if the word of `name` that it holds is this one."""
    with suppress(StoreError, OSError):
        place = open_home(home)
        if place.read_bytes(_path(name)) == word.encode():
            return place
    return None


def _path(name: str) -> str:
    return f"{STAGING}/{name}.beacon"
