"""Rolling up: many small files of a day become one, in one atomic step.

Law: nothing is ever deleted whose rows are not held by a file that readers see.
A hidden folder is filled with the merged file and with links to the files that
are large already, and exchanged with the day's folder in one system call. What
was the day's folder then lies under `.staging` and is retired there: whatever
state a crash left, before or after the exchange, the same rule cleans it up.
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import date
from functools import lru_cache

from raysched.errors import StoreError
from raysched.store import layout, parquet
from raysched.store.home import STAGING, LocalHome
from raysched.store.schema import DATASETS

#: Bytes from which a file is kept as it is.
LARGE = 32 * 1024 * 1024

# A plain reader that has opened the old folder and not listed it yet must find it
# full: files that are gone by then make it fail, and it tries again. Found empty,
# the folder would count too few rows without an error.
_GRACE_S = 60.0

_LOCK = f"{STAGING}/roll-up.lock"
_GENERATION = re.compile(rf"({'|'.join(DATASETS)})\.(\d{{4}}-\d{{2}}-\d{{2}})\.[0-9a-f]{{32}}")


class RollUp:
    """Merges the days of one local home; `names` is the lock under which files appear."""

    def __init__(self, home: LocalHome, names: threading.Lock, clock: Callable[[], float]) -> None:
        self._home = home
        self._names = names
        self._clock = clock
        self._old: dict[str, float] = {}  # generation -> when readers have left it
        # A file never changes, though a merged one may take a name over: hence the inode.
        self._sources_of = lru_cache(maxsize=1024)(
            lambda rel, _inode, _changed: layout.sources(home, rel)
        )

    def small_files(self, dataset: str, day: date) -> list[str]:
        """The files of a day that are worth merging."""
        files = layout.files(self._home, dataset, day)
        return [rel for rel in files if self._home.stat(rel).st_size < LARGE]

    def holder(self, dataset: str, day: date, name: str) -> str | None:
        """The file of a day that holds a name's rows, if one does."""
        for rel in layout.files(self._home, dataset, day):
            # A damaged file must not keep today's rows out of the history. It is known
            # to hold its own name; others it may hold can be read in it by nobody.
            names = frozenset({layout.own_name(rel)})
            with suppress(StoreError):
                names = self._sources(rel)
            if name in names:
                return rel
        return None

    def run(self, dataset: str, day: date) -> int:
        """Merge one day; returns how many files were merged.

        Raises:
            StoreError: a file of the day is damaged.
            OSError: the disk refuses.
        """
        with self._home.lock(_LOCK) as mine:
            if not mine:
                return 0  # another process is at it
            self._retire_left()
            small = self.small_files(dataset, day)
            if len(small) < 2:
                return 0
            generation = f"{dataset}.{day.isoformat()}.{uuid.uuid4().hex}"
            # Whatever happens from here on, a later run or `recover` retires it.
            self._old[generation] = self._clock() + _GRACE_S
            try:
                self._exchange(generation, self._build(generation, small))
            except NotImplementedError:
                self._home.can_swap = False
                self._retire(generation)
                return 0
            return len(small)

    def recover(self) -> int:
        """Clear `.staging` of what earlier processes left; returns the number of leftovers."""
        with self._home.lock(_LOCK) as mine:
            if not mine:
                return 0  # a live process is rolling up: its folder is no leftover
            found = 0
            for name, inner in self._home.names(STAGING).items():
                if not inner and name.endswith(".tmp"):
                    self._home.discard(f"{STAGING}/{name}")
                elif inner and _GENERATION.fullmatch(name):
                    self._retire(name)
                else:
                    continue  # the lock, and results that live workers are writing
                found += 1
            return found

    def _build(self, generation: str, small: list[str]) -> list[str]:
        """Fill the hidden folder with all that the day's holds; returns the files it took."""
        dataset, day = _parse(generation)
        hidden = f"{STAGING}/{generation}"
        with self._names:  # a file that comes later is the exchange's business
            taken = layout.files(self._home, dataset, day)
        held = {rel: self._sources(rel) for rel in taken}
        merged = [rel for rel in taken if len(held[rel]) > 1]
        # A file whose name a merged one holds too came in from a process that was
        # fenced off too late. Its rows are there already.
        twice = frozenset[str]().union(*(held[rel] for rel in merged))
        kept = [rel for rel in taken if rel in merged or not held[rel] <= twice]
        merging = [rel for rel in kept if rel in small]
        self._home.make_folder(self._home.path(hidden))
        if len(merging) > 1:
            sources = frozenset[str]().union(*(held[rel] for rel in merging))
            self._merge(_heir(merging, merged), hidden, merging, sources)
        for rel in kept:
            if len(merging) < 2 or rel not in merging:
                self._home.link(rel, _moved(rel, hidden))
        return taken

    def _merge(self, heir: str, hidden: str, merging: list[str], sources: Collection[str]) -> None:
        schema = DATASETS[heir.partition("/")[0]]
        tables = (parquet.read(self._home, rel, schema) for rel in merging)
        metadata = {layout.SOURCES: json.dumps(sorted(sources))}
        self._home.stage(
            _moved(heir, hidden), lambda file: parquet.write(file, schema, tables, metadata)
        )

    def _exchange(self, generation: str, taken: list[str]) -> None:
        """Swap the hidden folder in, with the files that came while it was built."""
        dataset, day = _parse(generation)
        live, hidden = layout.folder(dataset, day), f"{STAGING}/{generation}"
        with self._names:
            for rel in layout.files(self._home, dataset, day):
                if rel not in taken:
                    self._home.link(rel, _moved(rel, hidden))
            self._home.sync(hidden)
            # If this process dies before the next line, the day is as it was; after
            # it, the day is merged. In both cases the generation holds only rows
            # that the day's folder holds as well.
            self._home.swap(live, hidden)

    def _retire_left(self) -> None:
        now = self._clock()
        for generation in [name for name, until in self._old.items() if until <= now]:
            self._retire(generation)
            del self._old[generation]

    def _retire(self, generation: str) -> None:
        """Delete a hidden folder whose rows the day's folder holds, by the module's law.

        Rows that it does not hold can come from a process that linked its file into
        the folder just as it was swapped away; they go back to the day.
        """
        dataset, day = _parse(generation)
        live, hidden = layout.folder(dataset, day), f"{STAGING}/{generation}"
        for _ in range(3):  # an entry may come in once more before the folder is gone
            found = {
                f"{hidden}/{name}": self._sources_or_own(f"{hidden}/{name}")
                for name in self._home.names(hidden)
            }
            with self._names:
                files = layout.files(self._home, dataset, day)
                try:
                    held = frozenset[str]().union(*map(self._sources, files))
                except StoreError:
                    return  # a damaged day: not the time to delete anything
                # The process that swapped may have died before it was durable.
                for folder in (live, dataset, STAGING):
                    with suppress(FileNotFoundError):
                        self._home.sync(folder)
                for rel, sources in found.items():
                    if sources <= held:
                        self._home.discard(rel)
                    elif not sources & held:
                        with suppress(FileNotFoundError):
                            self._home.claim(rel, _moved(rel, live))
                    # else: neither deleting nor restoring it is right, so it stays.
            if self._home.remove_folder(hidden):
                return

    def _sources(self, rel: str) -> frozenset[str]:
        """The names whose rows a file holds. Raises: StoreError, FileNotFoundError."""
        known = self._home.stat(rel)
        return self._sources_of(rel, known.st_ino, known.st_mtime_ns)

    def _sources_or_own(self, rel: str) -> frozenset[str]:
        """The same; a merged file that a crash cut short has its own name at least."""
        try:
            return layout.sources(self._home, rel)
        except StoreError:
            return frozenset({layout.own_name(rel)})


def _heir(merging: list[str], merged: list[str]) -> str:
    """The file whose name the merged one takes over.

    A reader lists the old folder, and then asks for each file by its path, which leads
    to the new one: Arrow leaves out, without a word, what it does not find there. It
    finds the heir, and with it all rows, provided that the heir was in every folder
    before: so it is the one that was the heir before.
    """
    return next((rel for rel in merging if rel in merged), merging[0])


def _moved(rel: str, folder: str) -> str:
    return f"{folder}/{rel.rpartition('/')[2]}"


def _parse(generation: str) -> tuple[str, date]:
    match = _GENERATION.fullmatch(generation)
    assert match, generation
    return match[1], date.fromisoformat(match[2])
