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
from collections.abc import Callable, Mapping, Set
from contextlib import suppress
from datetime import date
from functools import lru_cache

from raysched.errors import StoreError
from raysched.store import layout, parquet
from raysched.store.home import STAGING, LocalHome
from raysched.store.home.local import sync_folder
from raysched.store.schema import DATASETS

#: Bytes from which a file is kept as it is.
LARGE = 32 * 1024 * 1024

# A plain reader that has opened the old folder and not listed it yet must find it
# full: its files are gone by the new folder's names, so it fails, and tries again.
# Found empty, it would count too few rows without an error.
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
        # A merged file's name stands for its sources, so an answer never ages.
        self._cached_sources = lru_cache(maxsize=64)(lambda rel: layout.sources(home, rel))

    def sources(self, rel: str) -> frozenset[str]:
        """The names whose rows a file of a day holds. Raises: StoreError."""
        merged = layout.is_merged(rel.rpartition("/")[2])
        return self._cached_sources(rel) if merged else layout.sources(self._home, rel)

    def small_files(self, dataset: str, day: date) -> list[str]:
        """The names of a day's files that are worth merging."""
        return _small(layout.sizes(self._home, dataset, day))

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
            before = layout.sizes(self._home, dataset, day)
            merging = _small(before)
            if len(merging) < 2:
                return 0
            generation = f"{dataset}.{day.isoformat()}.{uuid.uuid4().hex}"
            # Whatever happens from here on, a later run or `recover` retires it.
            self._old[generation] = self._clock() + _GRACE_S
            try:
                self._build(generation, list(before), merging)
                self._exchange(generation, before.keys())
            except NotImplementedError:
                self._home.can_swap = False
                self._retire(generation)
                return 0
            return len(merging)

    def recover(self) -> int:
        """Clear `.staging` of what earlier processes left; returns the number of leftovers."""
        with self._home.lock(_LOCK) as mine:
            if not mine:
                return 0  # a live process is rolling up: its folder is no leftover
            found = 0
            for name, size in self._home.sizes(STAGING).items():
                if size is not None and name.endswith(".tmp"):
                    self._home.discard(f"{STAGING}/{name}")
                elif size is None and _GENERATION.fullmatch(name):
                    self._retire(name)
                else:
                    continue  # the lock, and results that live workers are writing
                found += 1
            return found

    def _build(self, generation: str, before: list[str], merging: list[str]) -> None:
        """Fill the hidden folder with all that the day's folder holds now."""
        dataset, day = _parse(generation)
        live, hidden = layout.folder(dataset, day), f"{STAGING}/{generation}"
        held = {name: self.sources(f"{live}/{name}") for name in before}
        merged = [held[name] for name in before if layout.is_merged(name)]
        # A file whose name a merged one holds too came in from a process that was
        # fenced off too late. Its rows are there already.
        twice = frozenset[str]().union(*merged)
        kept = [name for name in before if layout.is_merged(name) or not held[name] <= twice]
        self._home.make_folder(self._home.path(hidden))
        for name in kept:
            if name not in merging:
                self._home.link(f"{live}/{name}", f"{hidden}/{name}")
        merging = [name for name in merging if name in kept]
        if merging:
            sources = frozenset[str]().union(*(held[name] for name in merging))
            self._merge(live, hidden, merging, sources)

    def _merge(self, live: str, hidden: str, merging: list[str], sources: frozenset[str]) -> None:
        schema = DATASETS[live.partition("/")[0]]
        tables = (parquet.read(self._home, f"{live}/{name}", schema) for name in merging)
        metadata = {layout.SOURCES: json.dumps(sorted(sources))}
        self._home.stage(
            f"{hidden}/{layout.merged_name(sources)}",
            lambda file: parquet.write(file, schema, tables, metadata),
        )

    def _exchange(self, generation: str, before: Set[str]) -> None:
        """Swap the hidden folder in, with the files that came while it was built."""
        dataset, day = _parse(generation)
        live, hidden = layout.folder(dataset, day), f"{STAGING}/{generation}"
        with self._names:
            for name in layout.sizes(self._home, dataset, day).keys() - before:
                self._home.link(f"{live}/{name}", f"{hidden}/{name}")
            sync_folder(self._home.path(hidden))
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

        Rows that it does not hold can come from a process that renamed its file
        into the folder just as it was swapped away; they go back to the day.
        """
        dataset, day = _parse(generation)
        live, hidden = layout.folder(dataset, day), f"{STAGING}/{generation}"
        for _ in range(3):  # an entry may come in once more before the folder is gone
            with self._names:
                try:
                    held = frozenset[str]().union(
                        *(self.sources(rel) for rel in layout.files(self._home, dataset, day))
                    )
                except StoreError:
                    return  # a damaged day: not the time to delete anything
                # The process that swapped may have died before it was durable.
                for folder in (live, dataset, STAGING):
                    with suppress(FileNotFoundError):
                        sync_folder(self._home.path(folder))
                for name in self._home.sizes(hidden):
                    self._retire_file(f"{hidden}/{name}", f"{live}/{name}", held)
            if self._home.remove_folder(hidden):
                return

    def _retire_file(self, rel: str, back: str, held: frozenset[str]) -> None:
        sources: frozenset[str] = frozenset()
        # A merged file without a footer was cut short: its sources are still there.
        with suppress(StoreError):
            sources = layout.sources(self._home, rel)
        if sources <= held:
            self._home.discard(rel)
        elif not sources & held:
            with suppress(FileNotFoundError):
                self._home.place(rel, back)
        # else: neither deleting nor restoring it is right. It stays where it is.


def _small(sizes: Mapping[str, int]) -> list[str]:
    return [name for name, size in sizes.items() if size < LARGE]


def _parse(generation: str) -> tuple[str, date]:
    match = _GENERATION.fullmatch(generation)
    assert match, generation
    return match[1], date.fromisoformat(match[2])
